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

// An output position. `next` goes through them in the order of the output tensor.
struct Position {
  int batch, row, column;

  void next(const Image& image) {
    if (++column < image.columns.output) return;
    column = 0;
    if (++row < image.rows.output) return;
    row = 0;
    ++batch;
  }
};

inline Position position_of(const Image& image, int64_t index) {
  const int64_t line = index / image.columns.output;
  return {int(line / image.rows.output), int(line % image.rows.output), int(index % image.columns.output)};
}

// Writes the window of an output position to `row`: for every tap
// `tap_words` words, beginning with word `first_word` of the pixel; words of 0 (+1) for taps outside the image.
void gather(const Image& image, const Position& at, int first_word, int tap_words, uint32_t* row);

}  // namespace lqe
