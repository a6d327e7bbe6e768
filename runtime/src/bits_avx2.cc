// x86-64 with AVX2: counting by table. The count of four bits of a window against four bits of a filter is one of 16
// tables looked up at one of 16 places, and a shuffle of bytes looks up 32 filters at once.
#if defined(__x86_64__)
#include <immintrin.h>

#include "bits.h"
#include "cpu_x86.h"
#include "words_x86.h"

#define LQE_AVX2 __attribute__((target("avx2")))
#define LQE_AVX2_INLINE __attribute__((target("avx2"), always_inline)) inline

namespace lqe {
namespace {

constexpr int kPixels = 4, kFilters = 32, kNibbles = 8;
constexpr int kByteSteps = 63;    // of at most 4 ones each: what a byte can sum
constexpr int kShortBlocks = 256;  // of at most 252 each: what 16 bits can sum

struct Tables {
  alignas(32) uint8_t differ[16][16];  // [x][w] = ones(x xor w)
  alignas(32) uint8_t both[16][16];    // [x][w] = ones(x and w)
};

constexpr Tables make_tables() {
  Tables tables = {};
  for (int x = 0; x < 16; ++x) {
    for (int w = 0; w < 16; ++w) {
      for (int bit = 0; bit < 4; ++bit) {
        tables.differ[x][w] = uint8_t(tables.differ[x][w] + (((x ^ w) >> bit) & 1));
        tables.both[x][w] = uint8_t(tables.both[x][w] + (((x & w) >> bit) & 1));
      }
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

// packed[nibble][pixel] = 16 * nibble, the place of its table.
LQE_AVX2 void pack_pixels(const uint32_t* rows, size_t words, uint8_t* packed) {
  const __m128i by_byte = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m128i upper = _mm_set1_epi8(char(0xf0));
  for (size_t w = 0; w < words; ++w, packed += 4 * kNibbles) {
    __m128i x = _mm_setr_epi32(int(rows[w]), int(rows[words + w]), int(rows[2 * words + w]), int(rows[3 * words + w]));
    x = _mm_shuffle_epi8(x, by_byte);
    __m128i even = _mm_and_si128(_mm_slli_epi16(x, 4), upper), odd = _mm_and_si128(x, upper);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(packed), _mm_unpacklo_epi32(even, odd));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(packed + 16), _mm_unpackhi_epi32(even, odd));
  }
}

// packed[nibble][filter]; with masks packed[nibble][ones or zeros of the filter within its mask][filter].
void pack_filters(const uint32_t* rows, const uint32_t* masks, size_t words, uint8_t* packed) {
  for (size_t w = 0; w < words; ++w) {
    for (int shift = 0; shift < 32; shift += 4) {
      for (int f = 0; f < kFilters; ++f) {
        uint32_t row = rows[size_t(f) * words + w], mask = masks == nullptr ? ~0u : masks[size_t(f) * words + w];
        packed[f] = uint8_t(((row & mask) >> shift) & 15);
        if (masks != nullptr) packed[kFilters + f] = uint8_t(((~row & mask) >> shift) & 15);
      }
      packed += masks == nullptr ? kFilters : 2 * kFilters;
    }
  }
}

LQE_AVX2_INLINE __m256i load_unaligned(const void* at) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}

LQE_AVX2_INLINE __m256i table(const uint8_t* tables, int place) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(tables + place)));
}

LQE_AVX2_INLINE void add_widened(__m256i bytes, __m256i* shorts) {
  shorts[0] = _mm256_add_epi16(shorts[0], _mm256_cvtepu8_epi16(_mm256_castsi256_si128(bytes)));
  shorts[1] = _mm256_add_epi16(shorts[1], _mm256_cvtepu8_epi16(_mm256_extracti128_si256(bytes, 1)));
}

LQE_AVX2_INLINE void add_to_sums(__m256i shorts, int32_t* sums) {
  auto* out = reinterpret_cast<__m256i*>(sums);
  __m256i low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(shorts));
  __m256i high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(shorts, 1));
  _mm256_storeu_si256(out, _mm256_add_epi32(load_unaligned(out), low));
  _mm256_storeu_si256(out + 1, _mm256_add_epi32(load_unaligned(out + 1), high));
}

// `kTiles` tiles of filters at once, so a window's table is loaded once for them.
template <int kTiles, bool kMasked>
LQE_AVX2_INLINE void count_tiles(const uint8_t* x, const uint8_t* filters, size_t steps, int32_t* sums) {
  constexpr size_t kStep = kMasked ? 2 * kFilters : kFilters;
  const uint8_t* differ = kTables.differ[0];
  const uint8_t* both = kTables.both[0];
  for (int p = 0; p < kPixels; ++p)
    for (int f = 0; f < kTiles * kFilters; ++f) sums[p * kBlock + f] = 0;
  for (size_t done = 0; done < steps;) {
    __m256i shorts[kPixels][kTiles][2] = {};
    for (int block = 0; block < kShortBlocks && done < steps; ++block) {
      const size_t end = steps - done < size_t(kByteSteps) ? steps : done + kByteSteps;
      __m256i bytes[kPixels][kTiles] = {};
      for (; done < end; ++done) {
        for (int t = 0; t < kTiles; ++t) {
          const uint8_t* w = filters + (size_t(t) * steps + done) * kStep;
          const __m256i ones = load_unaligned(w), zeros = kMasked ? load_unaligned(w + kFilters) : ones;
          for (int p = 0; p < kPixels; ++p) {
            const int place = x[4 * done + size_t(p)];
            __m256i found;
            if (kMasked) {  // ones where the window has 0, zeros where it has 1
              found = _mm256_add_epi8(_mm256_shuffle_epi8(table(both, 240 - place), ones),
                                      _mm256_shuffle_epi8(table(both, place), zeros));
            } else {
              found = _mm256_shuffle_epi8(table(differ, place), ones);
            }
            bytes[p][t] = _mm256_add_epi8(bytes[p][t], found);
          }
        }
      }
      for (int p = 0; p < kPixels; ++p)
        for (int t = 0; t < kTiles; ++t) add_widened(bytes[p][t], shorts[p][t]);
    }
    for (int p = 0; p < kPixels; ++p) {
      for (int t = 0; t < kTiles; ++t) {
        add_to_sums(shorts[p][t][0], sums + p * kBlock + t * kFilters);
        add_to_sums(shorts[p][t][1], sums + p * kBlock + t * kFilters + 16);
      }
    }
  }
}

template <bool kMasked>
LQE_AVX2_INLINE void count_all(const uint8_t* x, const uint8_t* filters, size_t words, int tiles, int32_t* sums) {
  if (tiles == 2)
    count_tiles<2, kMasked>(x, filters, words * kNibbles, sums);
  else
    count_tiles<1, kMasked>(x, filters, words * kNibbles, sums);
}

LQE_AVX2 void count(const uint8_t* x, const uint8_t* filters, size_t words, int tiles, int32_t* sums) {
  count_all<false>(x, filters, words, tiles, sums);
}

LQE_AVX2 void count_masked(const uint8_t* x, const uint8_t* filters, size_t words, int tiles, int32_t* sums) {
  count_all<true>(x, filters, words, tiles, sums);
}

}  // namespace

static_assert(kBlock == 2 * kFilters, "count takes one or two tiles");

const Kernel kAvx2Kernel = {
    "avx2", kPixels, kFilters, 1, kNibbles, kNibbles,
    [] { return cpu().avx2; }, pack_pixels, pack_filters, count, count_masked, signs_sse2, greater_sse2,
};

}  // namespace lqe
#endif
