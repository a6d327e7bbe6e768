// A pruned layer: a kernel of -1, 0 and +1 is stored as two binary kernels whose outputs are added. Where their bits
// agree the weight is +-1, where they differ it is 0.
#pragma once

#include <vector>

#include "operators.h"

namespace lqe {

// Nodes that make up one pruned layer.
struct PrunedNodes {
  int first, second, sum;
};

// The pairs of LceBconv2d in the plan that one float ADD adds, and that nothing else uses. Whether they have the same
// input, geometry and multiplier is for make_pruned to see.
TfLiteStatus find_pruned(TfLiteContext* context, const std::vector<int>& plan, std::vector<PrunedNodes>* found);

// One ternary convolution in place of the three nodes. Null where they are not one, and after an error, which is then
// reported and sets `failed`.
//
// With M = not (A xor B), Z = ones(A xor B), and t = ones((x xor A) and M): the sum is
// y = 2t * (-2m) + (2m (K - Z) + b_A + b_B).
std::unique_ptr<Operator> make_pruned(TfLiteContext* context, const PrunedNodes& nodes, const Options& options,
                                      bool* failed);

}  // namespace lqe
