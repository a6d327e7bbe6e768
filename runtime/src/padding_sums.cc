#include "padding_sums.h"

namespace lqe {

void PaddingSums::set(const uint32_t* rows, int filters, int height, int width, int words, int channels) {
  filters_ = filters;
  height_ = height;
  width_ = width;
  table_.assign((size_t(height) + 1) * (size_t(width) + 1) * size_t(filters), 0);
  for (int f = 0; f < filters; ++f) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        int32_t ones = 0;
        for (int w = 0; w < words; ++w) ones += __builtin_popcount(*rows++);
        int32_t* cell = table_.data() + ((int64_t{y} + 1) * (width + 1) + x + 1) * filters + f;
        *cell = channels - 2 * ones + at(y, x + 1)[f] + at(y + 1, x)[f] - at(y, x)[f];
      }
    }
  }
}

void PaddingSums::outside(const Place& y, const Place& x, int first, int count, int32_t* sums) const {
  const int32_t* all = at(height_, width_) + first;
  const int32_t *a = at(y.last, x.last) + first, *b = at(y.first, x.last) + first;
  const int32_t *c = at(y.last, x.first) + first, *d = at(y.first, x.first) + first;
  for (int i = 0; i < count; ++i) sums[i] = all[i] - (a[i] - b[i] - c[i] + d[i]);
}

}  // namespace lqe
