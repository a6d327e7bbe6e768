// What zero padding takes away from a convolution that counted the taps outside the image as +1.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "geometry.h"

namespace lqe {

// For every filter the sums of its weights (+1 and -1) over the taps outside the image. Any set of taps inside is
// a rectangle, so sums over rectangles that begin at tap (0, 0) answer for every position and every image size. Many
// windows have the same taps inside: these are one place, which has a number; 0 is that of all taps inside.
class PaddingSums {
 public:
  // `filters` rows of height * width taps with `words` words each, of which `channels` bits are weights. With more than
  // one kernel their sums are added.
  void set(std::initializer_list<const uint32_t*> kernels, int filters, int height, int width, int words, int channels);

  // Numbers the places of windows that lie so in an image.
  void lay_out(const Axis& rows, const Axis& columns);

  // Of the window at an output position.
  int place(int row, int column) const { return rows_[size_t(row)] * width_places_ + columns_[size_t(column)]; }
  int places() const { return int(sums_.size() / size_t(filters_)); }
  // The sums over the taps outside, for every filter.
  const int32_t* sums(int place) const { return sums_.data() + int64_t{place} * filters_; }

  bool empty() const { return table_.empty(); }

 private:
  const int32_t* at(int row, int column) const {
    return table_.data() + (int64_t{row} * (width_ + 1) + column) * filters_;
  }

  int filters_ = 0, height_ = 0, width_ = 0, width_places_ = 1;
  std::vector<int32_t> table_;       // [height + 1][width + 1][filters]
  std::vector<int> rows_, columns_;  // by the output position, the number of its place along the axis
  std::vector<int32_t> sums_;        // [places][filters]
};

}  // namespace lqe
