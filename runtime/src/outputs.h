// From counted bits to the values of the output tensor.
//
// A convolution of K weights whose window differs from the filter in a bits is K - 2a. With v = 2a:
// float32 and int8: y = clamp(v) * multiplier + bias, in float32, both operations rounded; int8 is rounded (halves away
// from zero) and saturated. Bits: 1 where a > threshold.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "bits.h"

namespace lqe {

enum class OutputType { kFloat, kInt8, kBits };

struct Output {
  OutputType type = OutputType::kFloat;
  void* data = nullptr;
  int channels = 0;
  std::vector<float> multiplier, bias;  // float32 and int8
  const int32_t* thresholds = nullptr;  // bits
  int32_t low = std::numeric_limits<int32_t>::min(), high = std::numeric_limits<int32_t>::max();  // of v
  // Zero padding as LCE's kernels take it away: y += padding_multiplier * S, in float32. Empty: v += S, in integers.
  std::vector<float> padding_multiplier;
  // A rectified sum of two convolutions: bounds of y.
  float least = -std::numeric_limits<float>::infinity(), most = std::numeric_limits<float>::infinity();

  // Writes channels [first, first + count), count <= kBlock, of `pixels` pixels, at most kMaxPixels. counted: the a's, a
  // row of kBlock for every pixel, which may be changed. padding: what the taps outside the image sum to, or null; then
  // there is one pixel. The channels of a pixel come in ascending order.
  void write(const Kernel& kernel, int64_t pixel, int pixels, int first, int count, int32_t* counted,
             const int32_t* padding) const;

 private:
  void write_floats(int pixels, int first, int count, const int32_t* counted, const int32_t* padding, float* y,
                    int64_t row) const;
  void write_bits(const Kernel& kernel, int first, int count, int32_t* counted, uint32_t* words) const;
};

}  // namespace lqe
