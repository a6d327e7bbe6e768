// The options with which a program loads the delegate.
#pragma once

#include <cstddef>
#include <string>

#include "bits.h"

namespace lqe {

struct Options {
  bool ternary = true;             // fuse the two halves of a pruned convolution
  const Kernel* kernel = nullptr;  // the kernel that counts bits
};

// Reads `count` pairs of strings. Answers false and sets `error` to one line where an option or a value is unknown.
bool read_options(char** keys, char** values, size_t count, Options* options, std::string* error);

}  // namespace lqe
