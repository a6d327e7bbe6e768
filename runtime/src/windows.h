// The windows of a packed image, as rows of words.
#pragma once

#include <cstddef>
#include <cstdint>

#include "geometry.h"

namespace lqe {

// A packed image, NHWC: `words` words for every pixel.
struct Image {
  const uint32_t* data;
  int words;
  Axis rows, columns;
};

// Writes the window of output position `position` (batch, row and column in one number) to `row`: for every tap
// `tap_words` words, beginning with word `first_word` of the pixel; words of 0 (+1) for taps outside the image.
// Answers whether a tap lies outside.
bool gather(const Image& image, int64_t position, int first_word, int tap_words, uint32_t* row);

}  // namespace lqe
