// Kernels that count the bits in which windows of an image differ from filters.
//
// A row is `words` 32-bit words: one window of the image (window height x width x packed channels), or one filter.
// A kernel works on tiles: `pixels` windows against `filters` filters, with rows cut into steps. It fixes how a tile lies in
// memory, so windows and filters are packed by its own functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lqe {

// Filters whose sums are counted before they are written to the output, and the row length of `sums`.
constexpr int kBlock = 64;
// The most windows that a tile of any kernel has.
constexpr int kMaxPixels = 8;

struct Kernel {
  const char* name;
  int pixels;           // windows of a tile, at most kMaxPixels
  int filters;          // filters of a tile; divides kBlock
  size_t step_words;    // a row is filled up with zeros to a multiple of this
  size_t pixel_bytes;   // packed bytes of a word of one window
  size_t filter_bytes;  // packed bytes of a word of one filter

  bool (*usable)();
  // Packs `pixels` rows, one after the other and each of `words` words (a multiple of step_words).
  void (*pack_pixels)(const uint32_t* rows, size_t words, uint8_t* packed);
  // Packs `filters` rows in the same way. With `masks` (of the same shape) for `count_masked`: twice the bytes.
  void (*pack_filters)(const uint32_t* rows, const uint32_t* masks, size_t words, uint8_t* packed);
  // sums[p * kBlock + f] = ones(window p xor filter f), for every window of one tile and filter of `tiles` tiles.
  void (*count)(const uint8_t* pixels, const uint8_t* filters, size_t words, int tiles, int32_t* sums);
  // The same for ones((window p xor filter f) and mask f).
  void (*count_masked)(const uint8_t* pixels, const uint8_t* filters, size_t words, int tiles, int32_t* sums);
  // The bits x[i] < 0 of `count` floats, in words; -0.0 and NaN give 0, as the bits after the last do.
  void (*signs)(const float* x, int64_t count, uint32_t* words);
  // word = the bits a[i] > b[i] of `count` <= 32 integers.
  uint32_t (*greater)(const int32_t* a, const int32_t* b, int count);
};

extern const Kernel kPlainKernel;
#if defined(__x86_64__)
extern const Kernel kPopcntKernel, kAvx2Kernel, kAvx512Kernel;
#elif defined(__aarch64__)
extern const Kernel kNeonKernel;
#endif

// The fastest kernel that this processor can run.
const Kernel* best_kernel();
// The kernel of that name, or null where this processor cannot run it.
const Kernel* find_kernel(const char* name);
// The names of the usable kernels, fastest first, with commas.
const char* kernel_names();

}  // namespace lqe
