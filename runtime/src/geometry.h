// Where the window of a convolution or a pooling lies, along one axis of the image.
#pragma once

#include <algorithm>
#include <string>

namespace lqe {

// The place of the window for one output position: tap k reads input position start + k * dilation, which is inside
// the image for first <= k < last.
struct Place {
  int start, first, last;
};

enum Padding : int { kSame = 0, kValid = 1 };

struct Axis {
  int input = 0, output = 0, filter = 0, stride = 1, dilation = 1, before = 0;

  Place place(int position) const {
    int start = position * stride - before;
    if (start >= 0 && input - start > (filter - 1) * dilation) return {start, 0, filter};
    int first = start >= 0 ? 0 : std::min(filter, (dilation - 1 - start) / dilation);
    int last = start >= input ? 0 : std::min(filter, (input - start - 1) / dilation + 1);
    return {start, first, std::max(first, last)};
  }
};

// Lays windows over an axis of `input` positions as TensorFlow does: SAME gives ceil(input / stride) positions and puts
// half of the padding, rounded down, before; VALID needs the whole dilated window inside. False, with `error`, where no
// window fits or a number is too large. All but `input` are at least 1.
bool lay_out(int input, int filter, int stride, int dilation, Padding padding, Axis* axis, std::string* error);

}  // namespace lqe
