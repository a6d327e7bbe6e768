#include "options.h"

namespace lqe {

bool read_options(char** keys, char** values, size_t count, Options* options, std::string* error) {
  options->kernel = best_kernel();
  for (size_t i = 0; i < count; ++i) {
    if (keys == nullptr || values == nullptr || keys[i] == nullptr || values[i] == nullptr) {
      *error = "larq-equalbits: an option of the delegate is null";
      return false;
    }
    std::string key = keys[i], value = values[i];
    if (key == "ternary") {
      if (value != "0" && value != "1") {
        *error = "larq-equalbits: option ternary is '" + value + "'; it must be 1 or 0";
        return false;
      }
      options->ternary = value == "1";
    } else if (key == "kernel") {
      options->kernel = value == "auto" ? best_kernel() : find_kernel(value.c_str());
      if (options->kernel == nullptr) {
        *error = "larq-equalbits: option kernel is '" + value + "'; this processor can use auto," + kernel_names();
        return false;
      }
    } else {
      *error = "larq-equalbits: unknown option '" + key + "'; the options are ternary and kernel";
      return false;
    }
  }
  return true;
}

}  // namespace lqe
