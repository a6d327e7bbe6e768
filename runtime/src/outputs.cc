#include "outputs.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensors.h"

namespace lqe {
namespace {

// Four values at once; both compilers make the processor's own instructions of it.
typedef float Floats __attribute__((vector_size(16)));
typedef int32_t Integers __attribute__((vector_size(16)));

template <class Vector, class Value>
inline Vector load(const Value* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}

template <bool kClamped>
inline Floats transform(Integers counted, Floats multiplier, Floats bias, Integers low, Integers high) {
  Integers v = counted + counted;
  if (kClamped) {
    v = v < low ? low : v;
    v = v > high ? high : v;
  }
  return __builtin_convertvector(v, Floats) * multiplier + bias;
}

// y[p][i] of `kPixels` pixels, row and kBlock values apart.
template <int kPixels, bool kClamped>
void transform_all(const Output& out, int first, int count, const int32_t* counted, float* y, int64_t row) {
  const float *multiplier = out.multiplier.data() + first, *bias = out.bias.data() + first;
  const Integers low = {out.low, out.low, out.low, out.low}, high = {out.high, out.high, out.high, out.high};
  int i = 0;
  for (; i + 4 <= count; i += 4) {
    const Floats m = load<Floats>(multiplier + i), b = load<Floats>(bias + i);
    for (int p = 0; p < kPixels; ++p) {
      const Floats result = transform<kClamped>(load<Integers>(counted + p * kBlock + i), m, b, low, high);
      std::memcpy(y + p * row + i, &result, sizeof result);
    }
  }
  for (; i < count; ++i)
    for (int p = 0; p < kPixels; ++p)
      y[p * row + i] = float(std::min(std::max(2 * counted[p * kBlock + i], out.low), out.high)) * multiplier[i] + bias[i];
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

void Output::write_floats(int pixels, int first, int count, const int32_t* counted, const int32_t* padding, float* y,
                          int64_t row) const {
  const bool clamped = low != std::numeric_limits<int32_t>::min();
  if (padding != nullptr && padding_multiplier.empty()) {
    for (int i = 0; i < count; ++i) {
      const int32_t v = std::min(std::max(2 * counted[i] + padding[i], low), high);
      y[i] = float(v) * multiplier[size_t(first + i)] + bias[size_t(first + i)];
    }
  } else {
    int p = 0;
    for (; p + 4 <= pixels; p += 4)
      (clamped ? transform_all<4, true> : transform_all<4, false>)(*this, first, count, counted + p * kBlock, y + p * row, row);
    for (; p < pixels; ++p)
      (clamped ? transform_all<1, true> : transform_all<1, false>)(*this, first, count, counted + p * kBlock, y + p * row, row);
    for (int i = 0; padding != nullptr && i < count; ++i) y[i] += padding_multiplier[size_t(first + i)] * float(padding[i]);
  }
  if (least == -std::numeric_limits<float>::infinity() && most == std::numeric_limits<float>::infinity()) return;
  for (int p = 0; p < pixels; ++p)
    for (int i = 0; i < count; ++i) y[p * row + i] = std::min(std::max(y[p * row + i], least), most);
}

void Output::write_bits(const Kernel& kernel, int first, int count, int32_t* counted, uint32_t* words) const {
  for (int i = 0; i < count; i += kWordBits) {
    const int part = std::min(kWordBits, count - i);
    put_bits(kernel.greater(counted + i, thresholds + first + i, part), first + i, part, words);
  }
}

void Output::write(const Kernel& kernel, int64_t pixel, int pixels, int first, int count, int32_t* counted,
                   const int32_t* padding) const {
  if (type == OutputType::kFloat) {
    float* y = static_cast<float*>(data) + pixel * channels + first;
    return write_floats(pixels, first, count, counted, padding, y, channels);
  }
  if (type == OutputType::kInt8) {
    float y[kMaxPixels * kBlock];
    write_floats(pixels, first, count, counted, padding, y, kBlock);
    int8_t* q = static_cast<int8_t*>(data) + pixel * channels + first;
    for (int p = 0; p < pixels; ++p)
      for (int i = 0; i < count; ++i) q[int64_t{p} * channels + i] = to_int8(y[p * kBlock + i]);
    return;
  }
  // 2a + S > 2 threshold is a + ceil(S / 2) > threshold.
  for (int i = 0; padding != nullptr && i < count; ++i) counted[i] += (padding[i] + 1) >> 1;
  const int64_t row = packed_words(channels);
  for (int p = 0; p < pixels; ++p)
    write_bits(kernel, first, count, counted + p * kBlock, static_cast<uint32_t*>(data) + (pixel + p) * row);
}

}  // namespace lqe
