// A convolution that yields floats of which an LceQuantize takes the signs. LCE's converter leaves these two where zeros
// are padded, since LCE has no packed output there.
#pragma once

#include <memory>
#include <vector>

#include "operators.h"

namespace lqe {

// Indices of the two nodes.
struct SignNodes {
  int convolution, quantize;
};

// The pairs in the plan. Nothing but the LceQuantize reads what the convolution yields.
TfLiteStatus find_signs(TfLiteContext* context, const std::vector<int>& plan, std::vector<SignNodes>* found);

// The bits that both yield, from counts alone. Null after an error, which is then reported.
std::unique_ptr<Operator> make_signs(TfLiteContext* context, const SignNodes& nodes, const Options& options);

}  // namespace lqe
