// Packed weights of a layer that multiplies in float: bits that LceDequantize unpacks, or the ADD of two such (a pruned
// kernel), and a MUL by constant scales after either.
#pragma once

#include <memory>
#include <vector>

#include "operators.h"

namespace lqe {

// The nodes that make up one constant kernel, and the tensors that matter.
struct WeightNodes {
  std::vector<int> nodes;
  std::vector<int> words;  // one or two constants of bits
  int scale = -1;          // constant factors, or -1
  int output = -1;
};

// The constant kernels in the plan that more than an LceDequantize makes; nothing else sees what lies between.
TfLiteStatus find_weights(TfLiteContext* context, const std::vector<int>& plan, std::vector<WeightNodes>* found);

// The kernel, unpacked once, here. The delegates that come after this one, and the interpreter, then see a constant.
std::unique_ptr<Operator> make_weights(TfLiteContext* context, const WeightNodes& nodes);

}  // namespace lqe
