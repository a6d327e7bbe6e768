#include "windows.h"

#include <cstring>

namespace lqe {
namespace {

// A few words at a time, in registers: a call of memcpy takes longer than most taps.
inline uint32_t* copy(const uint32_t* from, size_t words, uint32_t* to) {
  for (; words >= 4; words -= 4, from += 4, to += 4) std::memcpy(to, from, 16);
  if (words & 2) {
    std::memcpy(to, from, 8);
    from += 2;
    to += 2;
  }
  if (words & 1) *to++ = *from;
  return to;
}

inline uint32_t* clear(size_t words, uint32_t* to) {
  const uint32_t zeros[4] = {};
  for (; words >= 4; words -= 4, to += 4) std::memcpy(to, zeros, 16);
  for (; words > 0; --words) *to++ = 0;
  return to;
}

}  // namespace

void gather(const Image& image, const Position& at, int first_word, int tap_words, uint32_t* row) {
  const Axis &rows = image.rows, &columns = image.columns;
  const Place y = rows.place(at.row), x = columns.place(at.column);
  const size_t tap = size_t(tap_words), taps_of_row = size_t(columns.filter) * tap;
  const int64_t top = int64_t{at.batch} * rows.input;
  const bool together = columns.dilation == 1 && tap_words == image.words;
  const bool outside = y.first > 0 || x.first > 0 || y.last < rows.filter || x.last < columns.filter;
  if (together && !outside) {
    const uint32_t* from = image.data + ((top + y.start) * columns.input + x.start) * image.words;
    const int64_t line = int64_t{rows.dilation} * columns.input * image.words;
    for (int ky = 0; ky < rows.filter; ++ky, from += line) row = copy(from, taps_of_row, row);
    return;
  }

  if (y.first) row = clear(size_t(y.first) * taps_of_row, row);
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
}

}  // namespace lqe
