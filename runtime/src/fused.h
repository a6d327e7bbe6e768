// Several nodes of a graph that one operator replaces.
#pragma once

#include <vector>

#include "tensors.h"

namespace lqe {

// Whether nothing but the tensor `output` leaves the nodes: no other tensor that they make is read by another node or
// by the graph's caller.
bool only_leaves(TfLiteContext* context, const std::vector<int>& nodes, int output);

}  // namespace lqe
