// From counted bits to the values of the output tensor.
//
// A convolution of K weights whose window differs from the filter in a bits is K - 2a. With v = 2a:
// float32 and int8: y = clamp(v) * multiplier + bias, in float32, both operations rounded; int8 is rounded (halves away
// from zero) and saturated. Bits: 1 where a > threshold. Signs: the bits y < 0 of
// the floats y.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "bits.h"
#include "padding_sums.h"

namespace lqe {

enum class OutputType { kFloat, kInt8, kBits, kSigns };

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

  // Prepares for zero padding, and for signs. No a is larger than `weights`.
  void lay_out(const PaddingSums& padding, int weights);

  // Writes channels [first, first + count), count <= kBlock, of `pixels` pixels, at most kMaxPixels, in these places of the
  // padding. counted: the a's, a row of kBlock for every pixel, which may be changed. The channels of a pixel come in
  // ascending order.
  void write(const Kernel& kernel, int64_t pixel, int pixels, int first, int count, int32_t* counted,
             const int* places) const;

 private:
  void find_turns(const PaddingSums& padding, int place, int weights);
  void write_floats(int pixels, int first, int count, const int32_t* counted, const int* places, float* y,
                    int64_t row) const;
  void write_bits(const Kernel& kernel, int64_t pixel, int pixels, int first, int count, int32_t* counted,
                  const int* places) const;

  // By place and channel: S, padding_multiplier * S, and of signs the largest a before y turns negative, or turns positive.
  std::vector<int32_t> sums_, turns_;
  std::vector<float> added_;
  std::vector<uint32_t> rising_;  // the bits of channels i to i + 31: whether y rises with a
};

}  // namespace lqe
