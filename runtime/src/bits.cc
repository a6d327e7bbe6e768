#include "bits.h"

#include <cstring>
#include <string>

namespace lqe {
namespace {

// Fastest first.
const Kernel* const kKernels[] = {
#if defined(__x86_64__)
    &kAvx512Kernel, &kAvx2Kernel, &kPopcntKernel,
#elif defined(__aarch64__)
    &kNeonKernel,
#endif
    &kPlainKernel,
};

}  // namespace

const Kernel* best_kernel() {
  for (const Kernel* kernel : kKernels)
    if (kernel->usable()) return kernel;
  return &kPlainKernel;
}

const Kernel* find_kernel(const char* name) {
  for (const Kernel* kernel : kKernels)
    if (std::strcmp(kernel->name, name) == 0 && kernel->usable()) return kernel;
  return nullptr;
}

const char* kernel_names() {
  static const std::string names = [] {
    std::string all;
    for (const Kernel* kernel : kKernels)
      if (kernel->usable()) all += (all.empty() ? "" : ",") + std::string(kernel->name);
    return all;
  }();
  return names.c_str();
}

}  // namespace lqe
