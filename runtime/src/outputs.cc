#include "outputs.h"

#include <algorithm>
#include <cmath>

#include "tensors.h"

namespace lqe {
namespace {

void transform(const Output& out, int first, int count, const int32_t* counted, const int32_t* padding, float* y) {
  const float* multiplier = out.multiplier.data() + first;
  const float* bias = out.bias.data() + first;
  const bool exact = padding != nullptr && out.padding_multiplier.empty();
  for (int i = 0; i < count; ++i) {
    int32_t v = 2 * counted[i] + (exact ? padding[i] : 0);
    v = std::min(std::max(v, out.low), out.high);
    y[i] = float(v) * multiplier[i] + bias[i];
  }
  if (padding != nullptr && !exact) {
    const float* factor = out.padding_multiplier.data() + first;
    for (int i = 0; i < count; ++i) y[i] += factor[i] * float(padding[i]);
  }
}

int8_t to_int8(float y) {
  float rounded = std::round(y);
  if (!(rounded > -128.0f)) return rounded <= -128.0f ? -128 : 0;
  return rounded < 127.0f ? int8_t(rounded) : 127;
}

void put_bits(uint32_t bits, int first, int count, uint32_t* words) {
  uint32_t* word = words + first / kWordBits;
  int shift = first % kWordBits;
  *word = shift == 0 ? bits : *word | bits << shift;
  if (shift != 0 && shift + count > kWordBits) word[1] = bits >> (kWordBits - shift);
}

}  // namespace

void Output::write(const Kernel& kernel, int64_t pixel, int first, int count, int32_t* counted,
                   const int32_t* padding) const {
  if (type == OutputType::kFloat) {
    float* y = static_cast<float*>(data) + pixel * channels + first;
    transform(*this, first, count, counted, padding, y);
    if (least > -std::numeric_limits<float>::infinity() || most < std::numeric_limits<float>::infinity())
      for (int i = 0; i < count; ++i) y[i] = std::min(std::max(y[i], least), most);
  } else if (type == OutputType::kInt8) {
    float y[kBlock];
    transform(*this, first, count, counted, padding, y);
    int8_t* q = static_cast<int8_t*>(data) + pixel * channels + first;
    for (int i = 0; i < count; ++i) q[i] = to_int8(y[i]);
  } else {
    // 2a + S > 2 threshold is a + ceil(S / 2) > threshold.
    if (padding != nullptr)
      for (int i = 0; i < count; ++i) counted[i] += (padding[i] + 1) >> 1;
    uint32_t* words = static_cast<uint32_t*>(data) + pixel * packed_words(channels);
    for (int i = 0; i < count; i += kWordBits) {
      int part = std::min(kWordBits, count - i);
      put_bits(kernel.greater(counted + i, thresholds + first + i, part), first + i, part, words);
    }
  }
}

}  // namespace lqe
