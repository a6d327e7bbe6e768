// What this x86-64 processor and its operating system can run, asked directly: not every compiler's run-time library
// answers __builtin_cpu_supports.
#pragma once

namespace lqe {

struct Cpu {
  bool popcnt, avx2, avx512_vpopcntdq;
};

const Cpu& cpu();

}  // namespace lqe
