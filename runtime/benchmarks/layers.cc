// Runs one layer a given number of times, for counting its instructions: packing of a float input, then the convolution.
// "quantized" is the pruned one, and the packing of its output.
//
//   layers binary|pruned|quantized RUNS HEIGHT WIDTH CHANNELS FILTERS WINDOW
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "bits.h"
#include "convolution.h"
#include "tensors.h"

int main(int argc, char** argv) {
  using namespace lqe;
  if (argc != 8) {
    std::fprintf(stderr, "usage: layers binary|pruned|quantized RUNS HEIGHT WIDTH CHANNELS FILTERS WINDOW\n");
    return 2;
  }
  const bool quantized = std::strcmp(argv[1], "quantized") == 0;
  const bool pruned = quantized || std::strcmp(argv[1], "pruned") == 0;
  const int runs = std::atoi(argv[2]), height = std::atoi(argv[3]), width = std::atoi(argv[4]);
  const int channels = std::atoi(argv[5]), filters = std::atoi(argv[6]), window = std::atoi(argv[7]);
  if (channels % kWordBits != 0 || filters % kWordBits != 0) {
    std::fprintf(stderr, "CHANNELS and FILTERS must be multiples of 32\n");
    return 2;
  }
  const int words = packed_words(channels), pixels = height * width;
  std::mt19937 random;
  std::vector<float> x(size_t(pixels * channels));
  for (float& value : x) value = float(random()) - 2147483648.0f;
  std::vector<uint32_t> rows(size_t(filters * window * window * words)), masks(rows.size());
  for (uint32_t& word : rows) word = uint32_t(random());
  for (uint32_t& word : masks) word = uint32_t(random());

  std::string error;
  std::vector<uint32_t> packed(size_t(pixels * words));
  Image image = {packed.data(), words, {}, {}};
  if (!lay_out(height, window, 1, 1, kSame, &image.rows, &error) ||
      !lay_out(width, window, 1, 1, kSame, &image.columns, &error)) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 2;
  }
  const Kernel* kernel = best_kernel();
  Convolution convolution;
  convolution.set_filters(kernel, rows.data(), pruned ? masks.data() : nullptr, filters, 1, rows.size() / size_t(filters));
  std::vector<float> y(size_t(pixels * filters));
  std::vector<uint32_t> signs(size_t(pixels * packed_words(filters)));
  Output out;
  out.data = y.data();
  out.channels = filters;
  out.multiplier.assign(size_t(filters), -1.0f);
  out.bias.assign(size_t(filters), float(channels * window * window));
  Threads threads;
  for (int run = 0; run < runs; ++run) {
    kernel->signs(x.data(), int64_t(x.size()), packed.data());
    convolution.run(image, 1, PaddingSums(), out, &threads, 1);
    if (quantized) kernel->signs(y.data(), int64_t(y.size()), signs.data());
  }
  return 0;
}
