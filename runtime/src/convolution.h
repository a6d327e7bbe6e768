// A convolution of packed images with packed filters.
#pragma once

#include <cstdint>
#include <vector>

#include "outputs.h"
#include "padding_sums.h"
#include "threads.h"
#include "windows.h"

namespace lqe {

class Convolution {
 public:
  // Packs `count` filters of `row_words` words, in `groups` equal groups. With `masks` only the bits in a filter's mask
  // count.
  void set_filters(const Kernel* kernel, const uint32_t* rows, const uint32_t* masks, int count, int groups,
                   size_t row_words);

  // Convolves `batch` images. The taps outside count as +1, unless `zero_padding` has sums to take away; it and the output
  // were laid out for such images then.
  void run(const Image& image, int batch, const PaddingSums& zero_padding, const Output& output, Threads* threads,
           int thread_count);

 private:
  struct Scratch {
    std::vector<uint32_t> rows;   // the windows of one tile
    std::vector<uint8_t> packed;  // the windows of a part
    std::vector<int> places;      // of the windows of the part in the zero padding
  };

  void run_part(const Image& image, int64_t begin, int64_t end, const PaddingSums& zero_padding, const Output& output,
                Scratch* scratch) const;
  void pack_part(const Image& image, int group, int64_t begin, int64_t end, const PaddingSums& zero_padding,
                 Scratch* scratch) const;

  const Kernel* kernel_ = nullptr;
  bool masked_ = false;
  int count_ = 0, groups_ = 1, group_tiles_ = 0;
  size_t row_words_ = 0, words_ = 0, tile_bytes_ = 0;
  std::vector<uint8_t> filters_;
  std::vector<Scratch> scratch_;
};

}  // namespace lqe
