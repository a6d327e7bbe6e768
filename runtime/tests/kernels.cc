// Checks every kernel that the processor can run: the counts, the signs and the comparisons against a count of single
// bits, and whole convolutions against the definition. Prints a line a kernel; exit status 1 where one is wrong.
//
//   g++ -std=c++17 -O2 -ffp-contract=off -pthread -I src tests/kernels.cc src/*.cc -o kernels && ./kernels [CASES]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "bits.h"
#include "convolution.h"
#include "tensors.h"

namespace {

using namespace lqe;

std::mt19937 random_bits(20260);

int between(int least, int most) { return std::uniform_int_distribution<int>(least, most)(random_bits); }

std::vector<uint32_t> random_words(size_t count) {
  std::vector<uint32_t> words(count);
  const int kind = between(0, 9);  // all ones: the counts at which narrow sums overflow
  for (uint32_t& word : words) word = kind == 0 ? 0xffffffffu : kind == 1 ? 0u : uint32_t(random_bits());
  return words;
}

bool wrong(const Kernel& kernel, const char* what, const std::string& where) {
  std::printf("%s: %s is wrong: %s\n", kernel.name, what, where.c_str());
  return false;
}

bool check_counts(const Kernel& kernel, bool masked) {
  const int tiles = between(1, kBlock / kernel.filters), filters = tiles * kernel.filters;
  const int steps = between(0, 20) == 0 ? between(500, 3000) : between(1, 80);
  const size_t words = size_t(steps) * kernel.step_words;
  const auto x = random_words(words * size_t(kernel.pixels)), rows = random_words(words * size_t(filters));
  const auto masks = random_words(words * size_t(filters));
  // Packed sizes to the byte, at an odd address: a sanitizer sees what lies outside.
  const size_t tile_bytes = words * kernel.filter_bytes * size_t(kernel.filters) * (masked ? 2 : 1);
  std::vector<uint8_t> packed_x(words * kernel.pixel_bytes * size_t(kernel.pixels)), packed(tile_bytes * size_t(tiles));
  kernel.pack_pixels(x.data(), words, packed_x.data());
  for (int t = 0; t < tiles; ++t) {
    const size_t at = size_t(t * kernel.filters) * words;
    kernel.pack_filters(rows.data() + at, masked ? masks.data() + at : nullptr, words, packed.data() + tile_bytes * size_t(t));
  }
  std::vector<int32_t> sums(kMaxPixels * kBlock, -1);
  (masked ? kernel.count_masked : kernel.count)(packed_x.data(), packed.data(), words, tiles, sums.data());
  for (int p = 0; p < kernel.pixels; ++p) {
    for (int f = 0; f < filters; ++f) {
      int32_t ones = 0;
      for (size_t w = 0; w < words; ++w) {
        uint32_t differ = x[size_t(p) * words + w] ^ rows[size_t(f) * words + w];
        ones += __builtin_popcount(masked ? differ & masks[size_t(f) * words + w] : differ);
      }
      if (sums[size_t(p * kBlock + f)] != ones)
        return wrong(kernel, masked ? "count_masked" : "count",
                     std::to_string(words) + " words, window " + std::to_string(p) + ", filter " + std::to_string(f) +
                         ": " + std::to_string(sums[size_t(p * kBlock + f)]) + " for " + std::to_string(ones));
    }
  }
  return true;
}

bool check_words(const Kernel& kernel) {
  const float special[] = {0.0f, -0.0f, std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                           std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::denorm_min(), 1.0f, -1.0f};
  const int count = between(0, 3) == 0 ? 64 : between(1, 100), first = std::min(count, 32);
  std::vector<float> x;
  std::vector<int32_t> a, b;
  std::vector<uint32_t> signs(size_t(packed_words(count)), 0u), found(signs.size());
  uint32_t greater = 0;
  for (int i = 0; i < count; ++i) {
    x.push_back(special[between(0, 8)]);
    a.push_back(between(-3, 3));
    b.push_back(between(0, 5) == 0 ? std::numeric_limits<int32_t>::min() : between(-3, 3));
    signs[size_t(i / 32)] |= uint32_t(x.back() < 0.0f) << (i % 32);
    if (i < first) greater |= uint32_t(a.back() > b.back()) << i;
  }
  kernel.signs(x.data(), count, found.data());
  if (found != signs) return wrong(kernel, "signs", std::to_string(count) + " floats");
  if (kernel.greater(a.data(), b.data(), first) != greater) return wrong(kernel, "greater", std::to_string(first));
  return true;
}

// One convolution of +1 and -1 by its definition, tap by tap.
struct Problem {
  int batch, height, width, channels, groups, filters, window_height, window_width;
  Image image;
  std::vector<uint32_t> pixels, rows;
  bool zero_padding;

  int bit(int n, int y, int x, int c) const {
    const int words = packed_words(channels);
    size_t pixel = (size_t(n) * size_t(height) + size_t(y)) * size_t(width) + size_t(x);
    return (pixels[pixel * size_t(words) + size_t(c / 32)] >> (c % 32)) & 1 ? -1 : 1;
  }
  int64_t at(int n, int row, int column, int filter) const {
    const int group_channels = channels / groups, words = packed_words(channels) / groups;
    const int group = filter / (filters / groups);
    int64_t sum = 0;
    for (int ky = 0; ky < window_height; ++ky) {
      for (int kx = 0; kx < window_width; ++kx) {
        const int y = row * image.rows.stride - image.rows.before + ky * image.rows.dilation;
        const int x = column * image.columns.stride - image.columns.before + kx * image.columns.dilation;
        const bool inside = y >= 0 && y < height && x >= 0 && x < width;
        if (!inside && zero_padding) continue;
        for (int c = 0; c < group_channels; ++c) {
          const size_t tap = (size_t(filter) * size_t(window_height) + size_t(ky)) * size_t(window_width) + size_t(kx);
          const int weight = (rows[tap * size_t(words) + size_t(c / 32)] >> (c % 32)) & 1 ? -1 : 1;
          sum += weight * (inside ? bit(n, y, x, group * group_channels + c) : 1);
        }
      }
    }
    return sum;
  }
};

void clear_behind(std::vector<uint32_t>* words, int row_words, int channels) {
  if (channels % 32 == 0) return;
  for (size_t i = size_t(row_words) - 1; i < words->size(); i += size_t(row_words)) (*words)[i] &= (1u << (channels % 32)) - 1;
}

bool check_convolution(const Kernel& kernel, Threads* threads) {
  Problem p;
  p.groups = between(0, 2) == 0 ? between(2, 3) : 1;
  p.channels = p.groups > 1 ? 32 * p.groups * between(1, 3) : between(1, 300);
  p.filters = p.groups * between(1, 90 / p.groups);
  p.batch = between(1, 2);
  p.height = between(1, 9);
  p.width = between(1, 9);
  p.window_height = between(1, 5);
  p.window_width = between(1, 5);
  p.zero_padding = between(0, 1) == 1;
  const Padding padding = !p.zero_padding && between(0, 1) ? kValid : kSame;
  std::string error;
  if (!lay_out(p.height, p.window_height, between(1, 3), between(1, 3), padding, &p.image.rows, &error) ||
      !lay_out(p.width, p.window_width, between(1, 3), between(1, 3), padding, &p.image.columns, &error))
    return true;
  const int words = packed_words(p.channels), tap_words = words / p.groups, taps = p.window_height * p.window_width;
  p.pixels = random_words(size_t(p.batch * p.height * p.width * words));
  p.rows = random_words(size_t(p.filters * taps * tap_words));
  clear_behind(&p.pixels, words, p.channels);
  clear_behind(&p.rows, tap_words, p.channels / p.groups);
  p.image.data = p.pixels.data();
  p.image.words = words;

  Convolution convolution;
  convolution.set_filters(&kernel, p.rows.data(), nullptr, p.filters, p.groups, size_t(taps * tap_words));
  PaddingSums sums;
  if (p.zero_padding)
    sums.set({p.rows.data()}, p.filters, p.window_height, p.window_width, tap_words, p.channels / p.groups);
  if (p.zero_padding) sums.lay_out(p.image.rows, p.image.columns);
  const int weights = taps * p.channels / p.groups;
  Output out;
  out.channels = p.filters;
  out.multiplier.assign(size_t(p.filters), -1.0f);
  out.bias.assign(size_t(p.filters), float(weights));
  const int64_t positions = int64_t{p.batch} * p.image.rows.output * p.image.columns.output;
  std::vector<float> y(size_t(positions * p.filters), NAN);
  out.data = y.data();
  out.lay_out(sums, weights);
  convolution.run(p.image, p.batch, sums, out, threads, between(1, 3));

  std::vector<int32_t> thresholds(size_t(p.filters), 0);
  for (int32_t& threshold : thresholds) threshold = between(-1, weights);
  std::vector<uint32_t> bits(size_t(positions * packed_words(p.filters)), 0xffffffffu);
  out.type = OutputType::kBits;
  out.thresholds = thresholds.data();
  out.data = bits.data();
  convolution.run(p.image, p.batch, sums, out, threads, between(1, 3));
  for (int64_t position = 0; position < positions; ++position) {
    const int column = int(position % p.image.columns.output), line = int(position / p.image.columns.output);
    for (int f = 0; f < 32 * packed_words(p.filters); ++f) {
      const uint32_t word = bits[size_t(position * packed_words(p.filters) + f / 32)];
      bool bit = (word >> (f % 32)) & 1, expected_bit = false;
      if (f < p.filters) {
        const int64_t sum = p.at(line / p.image.rows.output, line % p.image.rows.output, column, f);
        expected_bit = weights - sum > 2 * int64_t{thresholds[size_t(f)]};
        if (y[size_t(position * p.filters + f)] != float(sum))
          return wrong(kernel, "convolution", "filter " + std::to_string(f) + " of " + std::to_string(p.filters) + ": " +
                       std::to_string(y[size_t(position * p.filters + f)]) + " for " + std::to_string(sum));
      }
      if (bit != expected_bit) return wrong(kernel, "packed output", "filter " + std::to_string(f));
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 300;
  std::string names = kernel_names();
  Threads threads;
  bool right = true;
  for (size_t begin = 0; begin < names.size();) {
    const size_t end = std::min(names.size(), names.find(',', begin));
    const Kernel& kernel = *find_kernel(names.substr(begin, end - begin).c_str());
    bool all = true;
    for (int i = 0; i < cases && all; ++i)
      all = check_counts(kernel, false) && check_counts(kernel, true) && check_words(kernel) &&
            check_convolution(kernel, &threads);
    if (all) std::printf("%s: %d cases\n", kernel.name, cases);
    right = right && all;
    begin = end + 1;
  }
  return right ? 0 : 1;
}
