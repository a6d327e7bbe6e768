#include "padding_sums.h"

#include <cstddef>

namespace lqe {

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

void PaddingSums::outside(const Place& y, const Place& x, int first, int count, int32_t* sums) const {
  const int32_t* all = at(height_, width_) + first;
  const int32_t *a = at(y.last, x.last) + first, *b = at(y.first, x.last) + first;
  const int32_t *c = at(y.last, x.first) + first, *d = at(y.first, x.first) + first;
  for (int i = 0; i < count; ++i) sums[i] = all[i] - (a[i] - b[i] - c[i] + d[i]);
}

}  // namespace lqe
