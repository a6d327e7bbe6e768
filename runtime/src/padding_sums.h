// What zero padding takes away from a convolution that counted the taps outside the image as +1.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "geometry.h"

namespace lqe {

// For every filter the sums of its weights (+1 and -1) over the taps outside the image. Any set of taps inside is
// a rectangle, so sums over rectangles that begin at tap (0, 0) answer for every position and every image size.
class PaddingSums {
 public:
  // `filters` rows of height * width taps with `words` words each, of which `channels` bits are weights. With more than
  // one kernel their sums are added.
  void set(std::initializer_list<const uint32_t*> kernels, int filters, int height, int width, int words, int channels);

  // sums[i] = the sum over the taps outside for filter first + i, i < count.
  void outside(const Place& y, const Place& x, int first, int count, int32_t* sums) const;

  bool empty() const { return table_.empty(); }

 private:
  const int32_t* at(int row, int column) const {
    return table_.data() + (int64_t{row} * (width_ + 1) + column) * filters_;
  }

  int filters_ = 0, height_ = 0, width_ = 0;
  std::vector<int32_t> table_;  // [height + 1][width + 1][filters]
};

}  // namespace lqe
