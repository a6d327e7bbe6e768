#if defined(__x86_64__)
#include "cpu_x86.h"

#include <cpuid.h>

#include <cstdint>

namespace lqe {
namespace {

uint64_t enabled_state() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

Cpu ask() {
  Cpu found = {};
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  found.popcnt = (c >> 23) & 1;
  bool saved_by_system = (c >> 27) & 1, avx = (c >> 28) & 1;
  uint64_t state = saved_by_system ? enabled_state() : 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  found.avx2 = found.popcnt && avx && ((b >> 5) & 1) && (state & 0x6) == 0x6;
  bool avx512f = (b >> 16) & 1, vpopcntdq = (c >> 14) & 1;
  found.avx512_vpopcntdq = found.avx2 && avx512f && vpopcntdq && (state & 0xe6) == 0xe6;
  return found;
}

}  // namespace

const Cpu& cpu() {
  static const Cpu found = ask();
  return found;
}

}  // namespace lqe
#endif
