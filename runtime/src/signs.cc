#include "signs.h"

#include <cstring>
#include <map>

#include "convolution_operator.h"
#include "fused.h"

namespace lqe {
namespace {

bool is(const TfLiteRegistration* registration, const char* name) {
  return registration->custom_name != nullptr && std::strcmp(registration->custom_name, name) == 0;
}

}  // namespace

TfLiteStatus find_signs(TfLiteContext* context, const std::vector<int>& plan, std::vector<SignNodes>* found) {
  std::map<int, int> convolutions;  // the node that makes a tensor of floats
  for (int index : plan) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) return kTfLiteError;
    if (node->outputs == nullptr || node->outputs->size != 1) continue;
    const int output = node->outputs->data[0];
    if (output < 0 || size_t(output) >= context->tensors_size) continue;
    const TfLiteType type = context->tensors[output].type;
    if (is(registration, "LceBconv2d") && type == kTfLiteFloat32) convolutions[output] = index;
    if (!is(registration, "LceQuantize") || type != kTfLiteInt32 || node->inputs == nullptr || node->inputs->size != 1)
      continue;
    auto before = convolutions.find(node->inputs->data[0]);
    if (before != convolutions.end() && only_leaves(context, {before->second, index}, output))
      found->push_back({before->second, index});
  }
  return kTfLiteOk;
}

std::unique_ptr<Operator> make_signs(TfLiteContext* context, const SignNodes& nodes, const Options& options) {
  TfLiteNode *convolution = nullptr, *quantize = nullptr;
  TfLiteRegistration* registration = nullptr;
  BinaryLayer layer;
  if (context->GetNodeAndRegistration(context, nodes.convolution, &convolution, &registration) != kTfLiteOk ||
      context->GetNodeAndRegistration(context, nodes.quantize, &quantize, &registration) != kTfLiteOk ||
      !read_layer(context, convolution, &layer))
    return nullptr;
  BinaryLayer packed = layer;
  packed.output_type = kTfLiteInt32;
  auto made = std::make_unique<ConvolutionOperator>(packed, quantize->outputs->data[0]);
  set_layer(layer, context->tensors[layer.output], options.kernel, made.get());
  made->out.type = OutputType::kSigns;
  return made;
}

}  // namespace lqe
