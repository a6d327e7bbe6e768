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

// y rises or falls with a, so its sign is another on the two sides of one a.
void Output::find_turns(const PaddingSums& padding, int place, int weights) {
  for (int o = 0; o < channels; ++o) {
    const float m = multiplier[size_t(o)];
    const int sum = place == 0 ? 0 : padding.sums(place)[o];
    auto negative = [&](int a) {
      const int v = 2 * a + (padding_multiplier.empty() ? sum : 0);
      const float y = float(std::min(std::max(v, low), high)) * m + bias[size_t(o)];
      return (place == 0 || padding_multiplier.empty() ? y : y + padding_multiplier[size_t(o)] * float(sum)) < 0.0f;
    };
    int begin = -1, end = weights;  // the largest a before the turn is one of these
    while (begin < end) {
      const int a = end - (end - begin) / 2;
      if (negative(a) == (m > 0.0f))
        begin = a;
      else
        end = a - 1;
    }
    turns_.push_back(begin);
  }
}

void Output::lay_out(const PaddingSums& padding, int weights) {
  const int places = padding.empty() ? 1 : padding.places();
  sums_.clear();
  added_.clear();
  turns_.clear();
  rising_.assign(size_t(channels), 0);
  if (type == OutputType::kSigns) {
    for (int place = 0; place < places; ++place) find_turns(padding, place, weights);
    for (int o = 0; o < channels; ++o)
      for (int i = std::max(0, o - kWordBits + 1); multiplier[size_t(o)] > 0.0f && i <= o; ++i)
        rising_[size_t(i)] |= 1u << (o - i);
  } else if (!padding.empty()) {
    sums_.assign(padding.sums(0), padding.sums(places));
    for (size_t i = 0; !padding_multiplier.empty() && i < sums_.size(); ++i)
      added_.push_back(padding_multiplier[i % size_t(channels)] * float(sums_[i]));
  }
}

void Output::write_floats(int pixels, int first, int count, const int32_t* counted, const int* places, float* y,
                          int64_t row) const {
  const bool clamped = low != std::numeric_limits<int32_t>::min();
  const auto one = clamped ? transform_all<1, true> : transform_all<1, false>;
  const auto four = clamped ? transform_all<4, true> : transform_all<4, false>;
  int p = 0;
  for (; p + 4 <= pixels; p += 4) four(*this, first, count, counted + p * kBlock, y + p * row, row);
  for (; p < pixels; ++p) one(*this, first, count, counted + p * kBlock, y + p * row, row);
  for (p = 0; p < pixels; ++p) {
    if (places[p] == 0) continue;
    const int64_t at = int64_t{places[p]} * channels + first;
    float* to = y + p * row;
    if (!added_.empty()) {
      for (int i = 0; i < count; ++i) to[i] += added_[size_t(at + i)];
      continue;
    }
    for (int i = 0; i < count; ++i) {
      const int32_t v = std::min(std::max(2 * counted[p * kBlock + i] + sums_[size_t(at + i)], low), high);
      to[i] = float(v) * multiplier[size_t(first + i)] + bias[size_t(first + i)];
    }
  }
  if (least == -std::numeric_limits<float>::infinity() && most == std::numeric_limits<float>::infinity()) return;
  for (int p = 0; p < pixels; ++p)
    for (int i = 0; i < count; ++i) y[p * row + i] = std::min(std::max(y[p * row + i], least), most);
}

void Output::write_bits(const Kernel& kernel, int64_t pixel, int pixels, int first, int count, int32_t* counted,
                        const int* places) const {
  const bool signs = type == OutputType::kSigns;
  const int64_t row = packed_words(channels);
  uint32_t* words = static_cast<uint32_t*>(data) + pixel * row;
  for (int p = 0; p < pixels; ++p, counted += kBlock, words += row) {
    const int64_t at = int64_t{places[p]} * channels + first;
    const int32_t* limits = signs ? turns_.data() + at : thresholds + first;
    // 2a + S > 2 threshold is a + ceil(S / 2) > threshold.
    for (int i = 0; !signs && places[p] != 0 && i < count; ++i) counted[i] += (sums_[size_t(at + i)] + 1) >> 1;
    for (int i = 0; i < count; i += kWordBits) {
      const int part = std::min(kWordBits, count - i);
      uint32_t bits = kernel.greater(counted + i, limits + i, part);
      if (signs) bits ^= rising_[size_t(first + i)] & ~0u >> (kWordBits - part);
      put_bits(bits, first + i, part, words);
    }
  }
}

void Output::write(const Kernel& kernel, int64_t pixel, int pixels, int first, int count, int32_t* counted,
                   const int* places) const {
  if (type == OutputType::kFloat) {
    float* y = static_cast<float*>(data) + pixel * channels + first;
    return write_floats(pixels, first, count, counted, places, y, channels);
  }
  if (type == OutputType::kInt8) {
    float y[kMaxPixels * kBlock];
    write_floats(pixels, first, count, counted, places, y, kBlock);
    int8_t* q = static_cast<int8_t*>(data) + pixel * channels + first;
    for (int p = 0; p < pixels; ++p)
      for (int i = 0; i < count; ++i) q[int64_t{p} * channels + i] = to_int8(y[p * kBlock + i]);
    return;
  }
  write_bits(kernel, pixel, pixels, first, count, counted, places);
}

}  // namespace lqe
