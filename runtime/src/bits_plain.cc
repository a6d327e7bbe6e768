// Plain C++: no instruction that a processor may lack.
#include "bits_scalar.h"

namespace lqe {
namespace {

struct Popcount {
  LQE_INLINE uint64_t operator()(uint64_t word) const {
    word -= (word >> 1) & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + ((word >> 2) & 0x3333333333333333u);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (word * 0x0101010101010101u) >> 56;
  }
};

void count(const uint8_t* pixels, const uint8_t* filters, size_t words, int tiles, int32_t* sums) {
  scalar::count<false>(pixels, filters, words, tiles, sums, Popcount{});
}

void count_masked(const uint8_t* pixels, const uint8_t* filters, size_t words, int tiles, int32_t* sums) {
  scalar::count<true>(pixels, filters, words, tiles, sums, Popcount{});
}

}  // namespace

const Kernel kPlainKernel = {
    "plain", scalar::kPixels, scalar::kFilters, scalar::kStepWords, 4, 4,
    [] { return true; }, scalar::pack_pixels, scalar::pack_filters, count, count_masked, scalar::signs,
    scalar::greater,
};

}  // namespace lqe
