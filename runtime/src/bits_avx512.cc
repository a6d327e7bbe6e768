// x86-64 with AVX-512 and VPOPCNTDQ: 64 bits of eight filters in a register, against the same 64 bits of a window.
#if defined(__x86_64__)
#include <immintrin.h>

#include "bits_scalar.h"
#include "cpu_x86.h"
#include "words_x86.h"

#define LQE_AVX512 __attribute__((target("avx512f,avx512vpopcntdq")))
#define LQE_AVX512_INLINE __attribute__((target("avx512f,avx512vpopcntdq"), always_inline)) inline

namespace lqe {
namespace {

constexpr int kPixels = 4, kFilters = 32, kVectors = kFilters / 8;
constexpr size_t kStepWords = 2;

void pack_pixels(const uint32_t* rows, size_t words, uint8_t* packed) {
  scalar::interleave(rows, nullptr, kPixels, words, kStepWords, packed);
}

void pack_filters(const uint32_t* rows, const uint32_t* masks, size_t words, uint8_t* packed) {
  scalar::interleave(rows, masks, kFilters, words, kStepWords, packed);
}

template <bool kMasked>
LQE_AVX512_INLINE void count_all(const uint8_t* pixels, const uint8_t* filters, size_t words, int tiles, int32_t* sums) {
  for (int tile = 0; tile < tiles; ++tile, sums += kFilters) {
    const uint8_t* x = pixels;
    __m512i total[kPixels][kVectors];
    for (int p = 0; p < kPixels; ++p)
      for (int v = 0; v < kVectors; ++v) total[p][v] = _mm512_setzero_si512();
    for (size_t at = 0; at < words; at += kStepWords, x += 8 * kPixels, filters += 8 * kFilters * (kMasked ? 2 : 1)) {
      __m512i row[kVectors], mask[kVectors];
      for (int v = 0; v < kVectors; ++v) row[v] = _mm512_loadu_si512(filters + 64 * v);
      for (int v = 0; kMasked && v < kVectors; ++v) mask[v] = _mm512_loadu_si512(filters + 8 * kFilters + 64 * v);
      for (int p = 0; p < kPixels; ++p) {
        const __m512i window = _mm512_set1_epi64(int64_t(scalar::load(x + 8 * p)));
        for (int v = 0; v < kVectors; ++v) {
          // 0x28: the third operand, where the first and the second differ.
          const __m512i differ = kMasked ? _mm512_ternarylogic_epi64(window, row[v], mask[v], 0x28)
                                         : _mm512_xor_si512(window, row[v]);
          total[p][v] = _mm512_add_epi64(total[p][v], _mm512_popcnt_epi64(differ));
        }
      }
    }
    for (int p = 0; p < kPixels; ++p)
      for (int v = 0; v < kVectors; ++v)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + p * kBlock + 8 * v), _mm512_cvtepi64_epi32(total[p][v]));
  }
}

LQE_AVX512 void count(const uint8_t* x, const uint8_t* filters, size_t words, int tiles, int32_t* sums) {
  count_all<false>(x, filters, words, tiles, sums);
}

LQE_AVX512 void count_masked(const uint8_t* x, const uint8_t* filters, size_t words, int tiles, int32_t* sums) {
  count_all<true>(x, filters, words, tiles, sums);
}

}  // namespace

const Kernel kAvx512Kernel = {
    "avx512", kPixels, kFilters, kStepWords, 4, 4,
    [] { return cpu().avx512_vpopcntdq; }, pack_pixels, pack_filters, count, count_masked, signs_sse2, greater_sse2,
};

}  // namespace lqe
#endif
