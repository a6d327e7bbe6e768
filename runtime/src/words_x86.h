// Bits of comparisons with SSE2, which every x86-64 processor has.
#pragma once

#if defined(__x86_64__)
#include <emmintrin.h>

#include <cstdint>

namespace lqe {

inline uint32_t signs_sse2(const float* x, int count) {
  uint32_t bits = 0;
  int i = 0;
  for (; i + 4 <= count; i += 4)
    bits |= uint32_t(_mm_movemask_ps(_mm_cmplt_ps(_mm_loadu_ps(x + i), _mm_setzero_ps()))) << i;
  for (; i < count; ++i) bits |= uint32_t(x[i] < 0.0f) << i;
  return bits;
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
