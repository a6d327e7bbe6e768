#include "convolution.h"

#include <algorithm>
#include <cstring>

namespace lqe {
namespace {

// Packed windows of a part: small enough to stay in the first cache beside a block of filters.
constexpr size_t kPartBytes = 16 << 10;
constexpr int64_t kMostTiles = 32;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

void Convolution::set_filters(const Kernel* kernel, const uint32_t* rows, const uint32_t* masks, int count, int groups,
                              size_t row_words) {
  kernel_ = kernel;
  masked_ = masks != nullptr;
  count_ = count;
  groups_ = groups;
  row_words_ = row_words;
  words_ = (row_words + kernel->step_words - 1) / kernel->step_words * kernel->step_words;
  const int group_filters = count / groups;
  group_tiles_ = int(ceil_div(group_filters, kernel->filters));
  tile_bytes_ = words_ * kernel->filter_bytes * size_t(kernel->filters) * (masked_ ? 2 : 1);
  filters_.resize(tile_bytes_ * size_t(group_tiles_) * size_t(groups));

  const size_t tile_words = words_ * size_t(kernel->filters);
  std::vector<uint32_t> tile(tile_words), tile_masks(masked_ ? tile_words : 0);
  uint8_t* packed = filters_.data();
  for (int group = 0; group < groups; ++group) {
    for (int first = 0; first < group_filters; first += kernel->filters, packed += tile_bytes_) {
      std::fill(tile.begin(), tile.end(), 0u);
      std::fill(tile_masks.begin(), tile_masks.end(), 0u);
      for (int f = 0; f < std::min(kernel->filters, group_filters - first); ++f) {
        size_t row = (size_t(group) * size_t(group_filters) + size_t(first + f)) * row_words;
        std::memcpy(tile.data() + size_t(f) * words_, rows + row, row_words * sizeof(uint32_t));
        if (masked_) std::memcpy(tile_masks.data() + size_t(f) * words_, masks + row, row_words * sizeof(uint32_t));
      }
      kernel->pack_filters(tile.data(), masked_ ? tile_masks.data() : nullptr, words_, packed);
    }
  }
}

void Convolution::run(const Image& image, int batch, const PaddingSums& zero_padding, const Output& output,
                      Threads* threads, int thread_count) {
  const int64_t positions = int64_t{batch} * image.rows.output * image.columns.output;
  const int64_t tiles = ceil_div(positions, kernel_->pixels);
  const size_t tile_bytes = words_ * kernel_->pixel_bytes * size_t(kernel_->pixels);
  int64_t part_tiles = std::min<int64_t>(kMostTiles, std::max<int64_t>(1, int64_t(kPartBytes / tile_bytes)));
  if (thread_count > 1) part_tiles = std::min(part_tiles, ceil_div(tiles, int64_t{4} * thread_count));
  // Waking another thread takes as long as counting some hundred thousand words.
  if (positions * count_ * int64_t(words_) < 200000) thread_count = 1;

  if (scratch_.size() < size_t(thread_count)) scratch_.resize(size_t(thread_count));
  for (Scratch& scratch : scratch_) {
    scratch.rows.resize(words_ * size_t(kernel_->pixels));
    scratch.packed.resize(tile_bytes * size_t(part_tiles));
    scratch.places.resize(size_t(part_tiles) * size_t(kernel_->pixels));
  }
  const int64_t step = part_tiles * kernel_->pixels;
  threads->run(thread_count, int(ceil_div(positions, step)), [&](int part, int worker) {
    run_part(image, part * step, std::min(positions, (part + 1) * step), zero_padding, output,
             &scratch_[size_t(worker)]);
  });
}

void Convolution::pack_part(const Image& image, int group, int64_t begin, int64_t end, const PaddingSums& zero_padding,
                            Scratch* scratch) const {
  const int tap_words = image.words / groups_;
  uint8_t* packed = scratch->packed.data();
  int* place = scratch->places.data();
  Position at = position_of(image, begin);
  for (int64_t tile = begin; tile < end; tile += kernel_->pixels) {
    const int pixels = int(std::min<int64_t>(kernel_->pixels, end - tile));
    for (int p = 0; p < pixels; ++p, at.next(image)) {
      gather(image, at, group * tap_words, tap_words, scratch->rows.data() + size_t(p) * words_);
      *place++ = zero_padding.empty() ? 0 : zero_padding.place(at.row, at.column);
    }
    kernel_->pack_pixels(scratch->rows.data(), words_, packed);
    packed += words_ * kernel_->pixel_bytes * size_t(kernel_->pixels);
  }
}

void Convolution::run_part(const Image& image, int64_t begin, int64_t end, const PaddingSums& zero_padding,
                           const Output& output, Scratch* scratch) const {
  const int pixels = kernel_->pixels, block_tiles = kBlock / kernel_->filters, group_filters = count_ / groups_;
  const size_t pixel_tile = words_ * kernel_->pixel_bytes * size_t(pixels);
  const auto count = masked_ ? kernel_->count_masked : kernel_->count;
  alignas(64) int32_t sums[kMaxPixels * kBlock];
  for (int group = 0; group < groups_; ++group) {
    pack_part(image, group, begin, end, zero_padding, scratch);
    for (int first_tile = 0; first_tile < group_tiles_; first_tile += block_tiles) {
      const int tiles = std::min(block_tiles, group_tiles_ - first_tile);
      const int in_group = first_tile * kernel_->filters, first = group * group_filters + in_group;
      const int filters = std::min(kBlock, group_filters - in_group);
      const uint8_t* block = filters_.data() + tile_bytes_ * size_t(group * group_tiles_ + first_tile);
      const uint8_t* packed = scratch->packed.data();
      for (int64_t tile = begin; tile < end; tile += pixels, packed += pixel_tile) {
        count(packed, block, words_, tiles, sums);
        const int in_tile = int(std::min<int64_t>(pixels, end - tile));
        output.write(*kernel_, tile, in_tile, first, filters, sums, scratch->places.data() + (tile - begin));
      }
    }
  }
}

}  // namespace lqe
