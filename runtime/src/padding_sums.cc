#include "padding_sums.h"

#include <map>
#include <utility>

namespace lqe {
namespace {

// The taps inside the image, from the first to before the last.
using Taps = std::pair<int, int>;

// Numbers the sets of taps that windows along an axis have inside; 0 is all of them.
std::vector<int> number(const Axis& axis, std::vector<Taps>* taps) {
  std::map<Taps, int> numbers = {{{0, axis.filter}, 0}};
  *taps = {{0, axis.filter}};
  std::vector<int> found;
  for (int position = 0; position < axis.output; ++position) {
    const Place place = axis.place(position);
    const auto [entry, added] = numbers.insert({{place.first, place.last}, int(taps->size())});
    if (added) taps->push_back(entry->first);
    found.push_back(entry->second);
  }
  return found;
}

}  // namespace

void PaddingSums::set(std::initializer_list<const uint32_t*> kernels, int filters, int height, int width, int words,
                      int channels) {
  filters_ = filters;
  height_ = height;
  width_ = width;
  table_.assign((size_t(height) + 1) * (size_t(width) + 1) * size_t(filters), 0);
  for (int f = 0; f < filters; ++f) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const size_t tap = ((size_t(f) * size_t(height) + size_t(y)) * size_t(width) + size_t(x)) * size_t(words);
        int32_t sum = 0;
        for (const uint32_t* rows : kernels) {
          sum += channels;
          for (int w = 0; w < words; ++w) sum -= 2 * __builtin_popcount(rows[tap + size_t(w)]);
        }
        int32_t* cell = table_.data() + ((int64_t{y} + 1) * (width + 1) + x + 1) * filters + f;
        *cell = sum + at(y, x + 1)[f] + at(y + 1, x)[f] - at(y, x)[f];
      }
    }
  }
}

void PaddingSums::lay_out(const Axis& rows, const Axis& columns) {
  std::vector<Taps> heights, widths;
  rows_ = number(rows, &heights);
  columns_ = number(columns, &widths);
  width_places_ = int(widths.size());
  sums_.clear();
  for (const auto& [top, bottom] : heights) {
    for (const auto& [left, right] : widths) {
      const int32_t *all = at(height_, width_), *a = at(bottom, right), *b = at(top, right), *c = at(bottom, left);
      const int32_t* d = at(top, left);
      for (int i = 0; i < filters_; ++i) sums_.push_back(all[i] - (a[i] - b[i] - c[i] + d[i]));
    }
  }
}

}  // namespace lqe
