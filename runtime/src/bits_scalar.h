// A kernel on 64-bit words for any processor; how a word's ones are counted is a parameter.
#pragma once

#include <cstring>

#include "bits.h"

namespace lqe {
namespace scalar {

constexpr int kPixels = 2, kFilters = 4;
constexpr size_t kStepWords = 2;

#define LQE_INLINE inline __attribute__((always_inline))

LQE_INLINE uint64_t load(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// packed[step][row][2 words]; with masks, the rows of a step are followed by its masks.
inline void interleave(const uint32_t* rows, const uint32_t* masks, int count, size_t words, size_t step_words,
                       uint8_t* packed) {
  size_t bytes = step_words * sizeof(uint32_t);
  for (size_t at = 0; at < words; at += step_words) {
    for (int r = 0; r < count; ++r, packed += bytes) std::memcpy(packed, rows + size_t(r) * words + at, bytes);
    for (int r = 0; masks != nullptr && r < count; ++r, packed += bytes)
      std::memcpy(packed, masks + size_t(r) * words + at, bytes);
  }
}

template <bool kMasked, class Popcount>
LQE_INLINE void count(const uint8_t* pixels, const uint8_t* filters, size_t words, int tiles, int32_t* sums,
                      Popcount popcount) {
  for (int tile = 0; tile < tiles; ++tile) {
    const uint8_t* x = pixels;
    uint64_t total[kPixels][kFilters] = {};
    for (size_t at = 0; at < words; at += kStepWords, x += 8 * kPixels, filters += 8 * kFilters * (kMasked ? 2 : 1)) {
      for (int p = 0; p < kPixels; ++p) {
        for (int f = 0; f < kFilters; ++f) {
          uint64_t differ = load(x + 8 * p) ^ load(filters + 8 * f);
          if (kMasked) differ &= load(filters + 8 * (kFilters + f));
          total[p][f] += popcount(differ);
        }
      }
    }
    for (int p = 0; p < kPixels; ++p)
      for (int f = 0; f < kFilters; ++f) sums[p * kBlock + tile * kFilters + f] = int32_t(total[p][f]);
  }
}

inline void pack_pixels(const uint32_t* rows, size_t words, uint8_t* packed) {
  interleave(rows, nullptr, kPixels, words, kStepWords, packed);
}

inline void pack_filters(const uint32_t* rows, const uint32_t* masks, size_t words, uint8_t* packed) {
  interleave(rows, masks, kFilters, words, kStepWords, packed);
}

inline uint32_t sign_word(const float* x, int count) {
  uint32_t bits = 0;
  for (int i = 0; i < count; ++i) bits |= uint32_t(x[i] < 0.0f) << i;
  return bits;
}

inline void signs(const float* x, int64_t count, uint32_t* words) {
  for (; count > 0; count -= 32, x += 32) *words++ = sign_word(x, count < 32 ? int(count) : 32);
}

inline uint32_t greater(const int32_t* a, const int32_t* b, int count) {
  uint32_t bits = 0;
  for (int i = 0; i < count; ++i) bits |= uint32_t(a[i] > b[i]) << i;
  return bits;
}

}  // namespace scalar
}  // namespace lqe
