// Bits of comparisons with SSE2, which every x86-64 processor has.
#pragma once

#if defined(__x86_64__)
#include <emmintrin.h>

#include <cstdint>

#include "bits_scalar.h"

namespace lqe {

inline void signs_sse2(const float* x, int64_t count, uint32_t* words) {
  for (; count >= 32; count -= 32, x += 32) {
    uint32_t bits = 0;
    for (int i = 0; i < 32; i += 4)
      bits |= uint32_t(_mm_movemask_ps(_mm_cmplt_ps(_mm_loadu_ps(x + i), _mm_setzero_ps()))) << i;
    *words++ = bits;
  }
  scalar::signs(x, count, words);
}

inline uint32_t greater_sse2(const int32_t* a, const int32_t* b, int count) {
  auto load = [](const int32_t* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); };
  uint32_t bits = 0;
  int i = 0;
  for (; i + 4 <= count; i += 4)
    bits |= uint32_t(_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpgt_epi32(load(a + i), load(b + i))))) << i;
  for (; i < count; ++i) bits |= uint32_t(a[i] > b[i]) << i;
  return bits;
}

}  // namespace lqe
#endif
