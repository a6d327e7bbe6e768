// x86-64 with the popcnt instruction.
#if defined(__x86_64__)
#include "bits_scalar.h"
#include "cpu_x86.h"
#include "words_x86.h"

namespace lqe {
namespace {

struct Popcount {
  LQE_INLINE uint64_t operator()(uint64_t word) const {
    return uint64_t(__builtin_popcountll(word));
  }
};

__attribute__((target("popcnt"))) void count(const uint8_t* pixels, const uint8_t* filters, size_t words, int tiles,
                                             int32_t* sums) {
  scalar::count<false>(pixels, filters, words, tiles, sums, Popcount{});
}

__attribute__((target("popcnt"))) void count_masked(const uint8_t* pixels, const uint8_t* filters, size_t words,
                                                    int tiles, int32_t* sums) {
  scalar::count<true>(pixels, filters, words, tiles, sums, Popcount{});
}

}  // namespace

const Kernel kPopcntKernel = {
    "popcnt", scalar::kPixels, scalar::kFilters, scalar::kStepWords, 4, 4,
    [] { return cpu().popcnt; }, scalar::pack_pixels, scalar::pack_filters, count, count_masked, signs_sse2,
    greater_sse2,
};

}  // namespace lqe
#endif
