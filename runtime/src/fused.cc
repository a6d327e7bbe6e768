#include "fused.h"

namespace lqe {

bool only_leaves(TfLiteContext* context, const std::vector<int>& nodes, int output) {
  if (context->PreviewDelegatePartitioning == nullptr) return false;
  std::vector<int> array = nodes;  // laid out as a TfLiteIntArray: the size, then the values
  array.insert(array.begin(), int(nodes.size()));
  TfLiteDelegateParams* parts = nullptr;
  int count = 0;
  if (context->PreviewDelegatePartitioning(context, reinterpret_cast<const TfLiteIntArray*>(array.data()), &parts,
                                           &count) != kTfLiteOk)
    return false;
  return count == 1 && parts[0].output_tensors->size == 1 && parts[0].output_tensors->data[0] == output;
}

}  // namespace lqe
