#include "pruned.h"

#include <cstring>
#include <map>

#include "convolution_operator.h"
#include "fused.h"

namespace lqe {
namespace {

// The fused activation is the first field of an ADD's parameters.
enum Activation : int { kNone = 0, kRelu = 1, kReluMinusOneToOne = 2, kRelu6 = 3 };

TfLiteStatus node_of(TfLiteContext* context, int index, TfLiteNode** node, TfLiteRegistration** registration) {
  return context->GetNodeAndRegistration(context, index, node, registration);
}

bool is_convolution(const TfLiteNode* node, const TfLiteRegistration* registration) {
  return registration->custom_name != nullptr && std::strcmp(registration->custom_name, "LceBconv2d") == 0 &&
         node->outputs != nullptr && node->outputs->size == 1;
}

bool is_sum(const TfLiteNode* node, const TfLiteRegistration* registration) {
  return registration->custom_name == nullptr && registration->builtin_code == kTfLiteBuiltinAdd &&
         node->builtin_data != nullptr && node->inputs != nullptr && node->inputs->size == 2 &&
         node->outputs != nullptr && node->outputs->size == 1;
}

bool same_but_filters(const BinaryLayer& a, const BinaryLayer& b) {
  return a.input == b.input && a.stride_height == b.stride_height && a.stride_width == b.stride_width &&
         a.dilation_height == b.dilation_height && a.dilation_width == b.dilation_width && a.padding == b.padding &&
         a.pad_values == b.pad_values && a.channels_in == b.channels_in && a.filters == b.filters &&
         a.height == b.height && a.width == b.width && a.words == b.words && a.activation == 0 && b.activation == 0 &&
         a.output_type == kTfLiteFloat32 && b.output_type == kTfLiteFloat32 &&
         std::memcmp(a.multiplier, b.multiplier, size_t(a.filters) * sizeof(float)) == 0;
}

void set_bounds(Activation activation, Output* out) {
  if (activation == kRelu || activation == kRelu6) out->least = 0.0f;
  if (activation == kRelu6) out->most = 6.0f;
  if (activation == kReluMinusOneToOne) {
    out->least = -1.0f;
    out->most = 1.0f;
  }
}

void set_ternary(const BinaryLayer& a, const BinaryLayer& b, const Kernel* kernel, ConvolutionOperator* made) {
  const size_t row_words = a.row_words();
  std::vector<uint32_t> masks(size_t(a.filters) * row_words);
  for (int o = 0; o < a.filters; ++o) {
    int zeros = 0;
    for (size_t i = size_t(o) * row_words; i < (size_t(o) + 1) * row_words; ++i) {
      masks[i] = ~(a.rows[i] ^ b.rows[i]);
      zeros += __builtin_popcount(~masks[i]);
    }
    const double m = a.multiplier[o];
    made->out.multiplier.push_back(float(-2.0 * m));
    made->out.bias.push_back(float(2.0 * m * (a.weights() - zeros) + double(a.bias[o]) + double(b.bias[o])));
    if (a.zero_padding()) made->out.padding_multiplier.push_back(float(-m));
  }
  made->convolution.set_filters(kernel, a.rows, masks.data(), a.filters, a.groups, row_words);
  if (a.zero_padding())
    made->padding.set({a.rows, b.rows}, a.filters, a.height, a.width, a.words, a.group_channels());
  made->out.channels = a.filters;
}

}  // namespace

TfLiteStatus find_pruned(TfLiteContext* context, const std::vector<int>& plan, std::vector<PrunedNodes>* found) {
  std::map<int, int> convolutions, uses;  // the node that makes a tensor; how often a tensor is read
  for (int index : plan) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (node_of(context, index, &node, &registration) != kTfLiteOk) return kTfLiteError;
    if (is_convolution(node, registration)) convolutions[node->outputs->data[0]] = index;
    for (int i = 0; node->inputs != nullptr && i < node->inputs->size; ++i) ++uses[node->inputs->data[i]];
  }
  for (int index : plan) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (node_of(context, index, &node, &registration) != kTfLiteOk) return kTfLiteError;
    if (!is_sum(node, registration)) continue;
    const int a = node->inputs->data[0], b = node->inputs->data[1];
    auto first = convolutions.find(a), second = convolutions.find(b);
    if (a == b || first == convolutions.end() || second == convolutions.end() || uses[a] != 1 || uses[b] != 1) continue;
    found->push_back({first->second, second->second, index});
  }
  return kTfLiteOk;
}

std::unique_ptr<Operator> make_pruned(TfLiteContext* context, const PrunedNodes& nodes, const Options& options,
                                      bool* failed) {
  TfLiteNode *first = nullptr, *second = nullptr, *sum = nullptr;
  TfLiteRegistration* registration = nullptr;
  *failed = node_of(context, nodes.first, &first, &registration) != kTfLiteOk ||
            node_of(context, nodes.second, &second, &registration) != kTfLiteOk ||
            node_of(context, nodes.sum, &sum, &registration) != kTfLiteOk;
  BinaryLayer a, b;
  *failed = *failed || !read_layer(context, first, &a) || !read_layer(context, second, &b);
  if (*failed) return nullptr;
  const auto activation = *static_cast<const Activation*>(sum->builtin_data);
  const int output = sum->outputs->data[0];
  const bool known = activation >= kNone && activation <= kRelu6 && output >= 0 &&
                     size_t(output) < context->tensors_size && context->tensors[output].type == kTfLiteFloat32;
  if (!known || !same_but_filters(a, b) || !only_leaves(context, {nodes.first, nodes.second, nodes.sum}, output)) return nullptr;
  auto made = std::make_unique<ConvolutionOperator>(a, output);
  set_ternary(a, b, options.kernel, made.get());
  set_bounds(activation, &made->out);
  return made;
}

}  // namespace lqe
