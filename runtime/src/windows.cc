#include "windows.h"

#include <cstring>

namespace lqe {
namespace {

inline uint32_t* copy(const uint32_t* from, size_t words, uint32_t* to) {
  size_t i = 0;
  for (; i + 4 <= words; i += 4) std::memcpy(to + i, from + i, 16);
  for (; i < words; ++i) to[i] = from[i];
  return to + words;
}

inline uint32_t* clear(size_t words, uint32_t* to) {
  std::memset(to, 0, words * sizeof *to);
  return to + words;
}

}  // namespace

bool gather(const Image& image, int64_t position, int first_word, int tap_words, uint32_t* row) {
  const Axis &rows = image.rows, &columns = image.columns;
  int64_t line = position / columns.output;
  Place y = rows.place(int(line % rows.output)), x = columns.place(int(position % columns.output));
  const size_t tap = size_t(tap_words), taps_of_row = size_t(columns.filter) * tap;
  const int64_t top = line / rows.output * rows.input;
  const bool together = columns.dilation == 1 && tap_words == image.words;

  row = clear(size_t(y.first) * taps_of_row, row);
  for (int ky = y.first; ky < y.last; ++ky) {
    int64_t pixel = (top + y.start + int64_t{ky} * rows.dilation) * columns.input + x.start;
    if (x.first) row = clear(size_t(x.first) * tap, row);
    if (together) {
      row = copy(image.data + (pixel + x.first) * image.words, size_t(x.last - x.first) * tap, row);
    } else {
      for (int kx = x.first; kx < x.last; ++kx)
        row = copy(image.data + (pixel + int64_t{kx} * columns.dilation) * image.words + first_word, tap, row);
    }
    if (x.last < columns.filter) row = clear(size_t(columns.filter - x.last) * tap, row);
  }
  if (y.last < rows.filter) clear(size_t(rows.filter - y.last) * taps_of_row, row);
  return y.first > 0 || x.first > 0 || y.last < rows.filter || x.last < columns.filter;
}

}  // namespace lqe
