// aarch64: tiles of four windows and four filters, 128 bits a step. The inner step is assembly: compilers spill the
// sixteen sums when it is written with intrinsics.
#if defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>

#include "bits_scalar.h"

namespace lqe {
namespace {

constexpr int kPixels = 4, kFilters = 4;
constexpr size_t kStepWords = 4, kStepBytes = 64;
// A sum fits into 16 bits while a tile counts fewer than 65,536 bits.
constexpr size_t kMostSteps = 511;

void pack_pixels(const uint32_t* rows, size_t words, uint8_t* packed) {
  for (size_t at = 0; at < words; at += kStepWords, packed += kStepBytes)
    for (int p = 0; p < kPixels; ++p)
      vst1q_u8(packed + 16 * p, vld1q_u8(reinterpret_cast<const uint8_t*>(rows + size_t(p) * words + at)));
}

void pack_filters(const uint32_t* rows, const uint32_t* masks, size_t words, uint8_t* packed) {
  scalar::interleave(rows, masks, kFilters, words, kStepWords, packed);
}

// v0-v3: windows, v4-v7: filters, v16-v31: the sums of window p and filter f in v(16 + 4p + f). ADD is uaddlp for
// the first step and uadalp after it.
#define LQE_XOR(t0, t1, t2, t3, x)                                                                     \
  "eor v" #t0 ".16b, v4.16b, v" #x ".16b\n eor v" #t1 ".16b, v5.16b, v" #x ".16b\n"                      \
  "eor v" #t2 ".16b, v6.16b, v" #x ".16b\n eor v" #t3 ".16b, v7.16b, v" #x ".16b\n"
#define LQE_AND_MASKS(t0, t1, t2, t3)                                                                  \
  "and v" #t0 ".16b, v" #t0 ".16b, v8.16b\n and v" #t1 ".16b, v" #t1 ".16b, v9.16b\n"                      \
  "and v" #t2 ".16b, v" #t2 ".16b, v10.16b\n and v" #t3 ".16b, v" #t3 ".16b, v11.16b\n"
#define LQE_CNT(t0, t1, t2, t3)                                                                        \
  "cnt v" #t0 ".16b, v" #t0 ".16b\n cnt v" #t1 ".16b, v" #t1 ".16b\n"                                      \
  "cnt v" #t2 ".16b, v" #t2 ".16b\n cnt v" #t3 ".16b, v" #t3 ".16b\n"
#define LQE_SUM(ADD, t0, t1, t2, t3, s0, s1, s2, s3)                                                   \
  ADD " v" #s0 ".8h, v" #t0 ".16b\n " ADD " v" #s1 ".8h, v" #t1 ".16b\n"                                   \
  ADD " v" #s2 ".8h, v" #t2 ".16b\n " ADD " v" #s3 ".8h, v" #t3 ".16b\n"

// Two windows at a time, so a processor that executes in order does not wait for a result.
#define LQE_STEP(ADD)                                                                                  \
  "ld1 {v0.16b, v1.16b, v2.16b, v3.16b}, [%[x]], #64\n"                                                  \
  "ld1 {v4.16b, v5.16b, v6.16b, v7.16b}, [%[f]], #64\n"                                                  \
  LQE_XOR(8, 9, 10, 11, 0) LQE_XOR(12, 13, 14, 15, 1)                                                  \
  LQE_CNT(8, 9, 10, 11) LQE_CNT(12, 13, 14, 15)                                                        \
  LQE_SUM(ADD, 8, 9, 10, 11, 16, 17, 18, 19) LQE_SUM(ADD, 12, 13, 14, 15, 20, 21, 22, 23)              \
  LQE_XOR(8, 9, 10, 11, 2) LQE_XOR(12, 13, 14, 15, 3)                                                  \
  LQE_CNT(8, 9, 10, 11) LQE_CNT(12, 13, 14, 15)                                                        \
  LQE_SUM(ADD, 8, 9, 10, 11, 24, 25, 26, 27) LQE_SUM(ADD, 12, 13, 14, 15, 28, 29, 30, 31)

#define LQE_MASKED_WINDOW(ADD, x, s0, s1, s2, s3)                                                      \
  LQE_XOR(12, 13, 14, 15, x) LQE_AND_MASKS(12, 13, 14, 15)                                             \
  LQE_CNT(12, 13, 14, 15) LQE_SUM(ADD, 12, 13, 14, 15, s0, s1, s2, s3)
#define LQE_MASKED_STEP(ADD)                                                                           \
  "ld1 {v0.16b, v1.16b, v2.16b, v3.16b}, [%[x]], #64\n"                                                  \
  "ld1 {v4.16b, v5.16b, v6.16b, v7.16b}, [%[f]], #64\n"                                                  \
  "ld1 {v8.16b, v9.16b, v10.16b, v11.16b}, [%[f]], #64\n"                                                \
  LQE_MASKED_WINDOW(ADD, 0, 16, 17, 18, 19) LQE_MASKED_WINDOW(ADD, 1, 20, 21, 22, 23)                  \
  LQE_MASKED_WINDOW(ADD, 2, 24, 25, 26, 27) LQE_MASKED_WINDOW(ADD, 3, 28, 29, 30, 31)

// Sums of four filters: 16-bit parts in four registers to four 32-bit sums, stored.
#define LQE_STORE(s0, s1, s2, s3, offset)                                                              \
  "addp v" #s0 ".8h, v" #s0 ".8h, v" #s1 ".8h\n addp v" #s2 ".8h, v" #s2 ".8h, v" #s3 ".8h\n"              \
  "addp v" #s0 ".8h, v" #s0 ".8h, v" #s2 ".8h\n uaddlp v" #s0 ".4s, v" #s0 ".8h\n"                        \
  "str q" #s0 ", [%[sums], #" #offset "]\n"

// One step, one more where the rest is odd, then two at a time.
#define LQE_TILE(STEP)                                                                                 \
  __asm__ volatile(STEP("uaddlp")                                                                      \
                   "tbnz %w[steps], #0, 1f\n"                                                          \
                   STEP("uadalp")                                                                      \
                   "1:\n sub %[steps], %[steps], #1\n lsr %[steps], %[steps], #1\n cbz %[steps], 3f\n"     \
                   "2:\n"                                                                              \
                   STEP("uadalp") STEP("uadalp")                                                       \
                   "subs %[steps], %[steps], #1\n b.ne 2b\n"                                            \
                   "3:\n"                                                                              \
                   LQE_STORE(16, 17, 18, 19, 0) LQE_STORE(20, 21, 22, 23, 256)                         \
                   LQE_STORE(24, 25, 26, 27, 512) LQE_STORE(28, 29, 30, 31, 768)                       \
                   : [x] "+r"(x), [f] "+r"(f), [steps] "+r"(steps)                                     \
                   : [sums] "r"(sums)                                                                  \
                   : "memory", "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10",   \
                     "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", \
                     "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31")

static_assert(kBlock * sizeof(int32_t) == 256, "the offsets of LQE_TILE");

template <bool kMasked>
inline __attribute__((always_inline)) void count_steps(const uint8_t* x, const uint8_t* f, size_t steps,
                                                       int32_t* sums) {
  if (kMasked) {
    LQE_TILE(LQE_MASKED_STEP);
  } else {
    LQE_TILE(LQE_STEP);
  }
}

template <bool kMasked>
inline __attribute__((always_inline)) void count_all(const uint8_t* x, const uint8_t* filters, size_t words, int tiles,
                                                     int32_t* sums) {
  const size_t steps = words / kStepWords, filter_step = kMasked ? 2 * kStepBytes : kStepBytes;
  for (int tile = 0; tile < tiles; ++tile, sums += kFilters, filters += steps * filter_step) {
    count_steps<kMasked>(x, filters, steps < kMostSteps ? steps : kMostSteps, sums);
    for (size_t done = kMostSteps; done < steps; done += kMostSteps) {
      int32_t more[kPixels * kBlock];
      const size_t part = steps - done < kMostSteps ? steps - done : kMostSteps;
      count_steps<kMasked>(x + done * kStepBytes, filters + done * filter_step, part, more);
      for (int p = 0; p < kPixels; ++p)
        for (int i = 0; i < kFilters; ++i) sums[p * kBlock + i] += more[p * kBlock + i];
    }
  }
}

void count(const uint8_t* x, const uint8_t* filters, size_t words, int tiles, int32_t* sums) {
  count_all<false>(x, filters, words, tiles, sums);
}

void count_masked(const uint8_t* x, const uint8_t* filters, size_t words, int tiles, int32_t* sums) {
  count_all<true>(x, filters, words, tiles, sums);
}

// Bit i of the word is whether lane i of the eight comparisons is true.
inline uint32_t word_of(const uint32x4_t* true_lanes) {
  uint8x16_t halves[2];
  for (int h = 0; h < 2; ++h) {
    uint16x8_t low = vuzp1q_u16(vreinterpretq_u16_u32(true_lanes[4 * h]), vreinterpretq_u16_u32(true_lanes[4 * h + 1]));
    uint16x8_t high =
        vuzp1q_u16(vreinterpretq_u16_u32(true_lanes[4 * h + 2]), vreinterpretq_u16_u32(true_lanes[4 * h + 3]));
    const uint8x16_t bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    halves[h] = vandq_u8(vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high)), bit);
  }
  uint8x16_t sums = vpaddq_u8(halves[0], halves[1]);
  sums = vpaddq_u8(sums, sums);
  return vgetq_lane_u32(vreinterpretq_u32_u8(vpaddq_u8(sums, sums)), 0);
}

void signs(const float* x, int64_t count, uint32_t* words) {
  for (; count >= 32; count -= 32, x += 32) {
    uint32x4_t negative[8];
    for (int i = 0; i < 8; ++i) negative[i] = vcltzq_f32(vld1q_f32(x + 4 * i));
    *words++ = word_of(negative);
  }
  scalar::signs(x, count, words);
}

uint32_t greater(const int32_t* a, const int32_t* b, int count) {
  if (count < 32) return scalar::greater(a, b, count);
  uint32x4_t larger[8];
  for (int i = 0; i < 8; ++i) larger[i] = vcgtq_s32(vld1q_s32(a + 4 * i), vld1q_s32(b + 4 * i));
  return word_of(larger);
}

bool usable() {
  constexpr unsigned long kAdvancedSimd = 1 << 1;  // HWCAP_ASIMD
  return getauxval(AT_HWCAP) & kAdvancedSimd;
}

}  // namespace

const Kernel kNeonKernel = {
    "neon", kPixels, kFilters, kStepWords, 4, 4, usable, pack_pixels, pack_filters, count, count_masked, signs, greater,
};

}  // namespace lqe
#endif
