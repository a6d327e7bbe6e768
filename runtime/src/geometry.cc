#include "geometry.h"

#include <cstdint>

namespace lqe {

bool lay_out(int input, int filter, int stride, int dilation, Padding padding, Axis* axis, std::string* error) {
  constexpr int kMost = 1 << 28;  // so that no position, padding included, needs more than 31 bits
  int64_t extent = (int64_t{filter} - 1) * dilation + 1;
  if (extent > kMost || input > kMost || stride > kMost) {
    *error = "a window of " + std::to_string(extent) + " positions with stride " + std::to_string(stride) + " on " +
             std::to_string(input) + " positions is too large";
    return false;
  }
  if (input < 1 || (padding == kValid && input < extent)) {
    *error = "a window of " + std::to_string(extent) + " positions does not fit into " + std::to_string(input);
    return false;
  }
  int64_t output = padding == kSame ? (int64_t{input} + stride - 1) / stride : (input - extent) / stride + 1;
  int64_t needed = (output - 1) * stride + extent - input;
  int before = padding == kSame && needed > 0 ? int(needed / 2) : 0;
  *axis = {input, int(output), filter, stride, dilation, before};
  return true;
}

}  // namespace lqe
