#include "weights.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "fused.h"

namespace lqe {
namespace {

constexpr int32_t kTfLiteBuiltinMul = 18;

bool in_graph(const TfLiteContext* context, int index) { return index >= 0 && size_t(index) < context->tensors_size; }

bool has(const TfLiteContext* context, const TfLiteNode* node, int inputs) {
  if (node->inputs == nullptr || node->inputs->size != inputs || node->outputs == nullptr || node->outputs->size != 1)
    return false;
  for (int i = 0; i < inputs; ++i)
    if (!in_graph(context, node->inputs->data[i])) return false;
  return in_graph(context, node->outputs->data[0]);
}

bool is_plain(const TfLiteNode* node) {
  // The fused activation is the first field of the parameters of both ADD and MUL.
  return node->builtin_data != nullptr && *static_cast<const int*>(node->builtin_data) == 0;
}

// The constant is the packed form of the float tensor, which both have memory for.
bool unpacks(const TfLiteTensor& words, const TfLiteTensor& values) {
  const Shape shape = shape_of(values);
  if (!is_constant(words) || words.type != kTfLiteInt32 || values.type != kTfLiteFloat32 || elements(shape) <= 0)
    return false;
  Shape packed = shape;
  if (packed.empty()) return false;
  packed.back() = packed_words(packed.back());
  return shape_of(words) == packed && holds(words, packed);
}

// The axis of `shape` along which the factors lie, or -1 for a single one; -2 where they lie otherwise.
int axis_of(const TfLiteTensor& scale, const Shape& shape) {
  const Shape own = shape_of(scale);
  if (!is_constant(scale) || scale.type != kTfLiteFloat32 || own.size() > shape.size() || !holds(scale, own)) return -2;
  int axis = -1;
  for (size_t i = 0; i < own.size(); ++i) {
    const size_t place = shape.size() - own.size() + i;
    if (own[i] == 1) continue;
    if (axis != -1 || own[i] != shape[place]) return -2;
    axis = int(place);
  }
  return axis;
}

class Weights : public Operator {
 public:
  Weights(std::string what, const WeightNodes& nodes) : Operator(std::move(what)), nodes_(nodes) {}

  void unpack(TfLiteContext* context) {
    TfLiteTensor& to = context->tensors[nodes_.output];
    const Shape shape = shape_of(to);
    const int channels = shape.back();
    const int64_t rows = elements(shape) / channels;
    values_.assign(size_t(elements(shape)), 0.0f);
    for (int index : nodes_.words) {
      auto* words = static_cast<const uint32_t*>(context->tensors[index].data);
      float* out = values_.data();
      for (int64_t row = 0; row < rows; ++row, words += packed_words(channels))
        for (int c = 0; c < channels; ++c) *out++ += (words[c / kWordBits] >> (c % kWordBits)) & 1 ? -1.0f : 1.0f;
    }
    if (nodes_.scale >= 0) multiply(context->tensors[nodes_.scale], shape);
    to.data = values_.data();
    to.bytes = values_.size() * sizeof(float);
    to.allocation_type = kTfLiteMmapRo;
  }

 protected:
  int input() const override { return nodes_.words[0]; }
  int output() const override { return nodes_.output; }
  bool is_unpacked() const override { return true; }

  TfLiteStatus lay_out(TfLiteContext* context, const Shape&, Shape* shape) override {
    *shape = shape_of(context->tensors[nodes_.output]);
    return kTfLiteOk;
  }

  TfLiteStatus compute(TfLiteContext*, Threads*) override { return kTfLiteOk; }

 private:
  void multiply(const TfLiteTensor& scale, const Shape& shape) {
    auto* factors = static_cast<const float*>(scale.data);
    const int axis = axis_of(scale, shape);
    size_t inner = values_.size(), count = 1;
    if (axis >= 0) {
      inner = 1;
      for (size_t i = size_t(axis) + 1; i < shape.size(); ++i) inner *= size_t(shape[i]);
      count = size_t(shape[size_t(axis)]);
    }
    float* value = values_.data();
    for (size_t block = 0; block * inner < values_.size(); ++block)
      for (size_t i = 0; i < inner; ++i) *value++ *= factors[block % count];
  }

  WeightNodes nodes_;
  std::vector<float> values_;
};

}  // namespace

TfLiteStatus find_weights(TfLiteContext* context, const std::vector<int>& plan, std::vector<WeightNodes>* found) {
  std::map<int, WeightNodes> made;  // what makes a tensor, by the tensor
  std::vector<int> order;
  for (int index : plan) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) return kTfLiteError;
    const bool custom = registration->custom_name != nullptr;
    if (custom && std::strcmp(registration->custom_name, "LceDequantize") == 0 && has(context, node, 1)) {
      const int words = node->inputs->data[0], output = node->outputs->data[0];
      if (unpacks(context->tensors[words], context->tensors[output])) made[output] = {{index}, {words}, -1, output};
      continue;
    }
    const bool sum = registration->builtin_code == kTfLiteBuiltinAdd, product = registration->builtin_code == kTfLiteBuiltinMul;
    if (custom || !(sum || product) || !has(context, node, 2) || !is_plain(node)) continue;
    const int a = node->inputs->data[0], b = node->inputs->data[1], output = node->outputs->data[0];
    const TfLiteTensor& result = context->tensors[output];
    auto first = made.find(a), second = made.find(b);
    if (first == made.end() || result.type != kTfLiteFloat32) continue;
    const Shape shape = shape_of(context->tensors[a]);
    if (shape_of(result) != shape || first->second.scale >= 0) continue;
    WeightNodes nodes = first->second;
    if (sum) {
      if (a == b || second == made.end() || nodes.words.size() != 1 || second->second.words.size() != 1 ||
          second->second.scale >= 0 || shape_of(context->tensors[b]) != shape)
        continue;
      nodes.nodes.push_back(second->second.nodes[0]);
      nodes.words.push_back(second->second.words[0]);
    } else {
      if (axis_of(context->tensors[b], shape) == -2) continue;
      nodes.scale = b;
    }
    nodes.nodes.push_back(index);
    nodes.output = output;
    made[output] = nodes;
    order.push_back(output);
  }
  std::map<int, bool> claimed;
  // The longest chain of nodes first: it ends last.
  for (auto output = order.rbegin(); output != order.rend(); ++output) {
    WeightNodes& nodes = made[*output];
    std::sort(nodes.nodes.begin(), nodes.nodes.end());
    bool free = only_leaves(context, nodes.nodes, *output);
    for (int node : nodes.nodes) free = free && !claimed[node];
    if (!free) continue;
    for (int node : nodes.nodes) claimed[node] = true;
    found->push_back(nodes);
  }
  return kTfLiteOk;
}

std::unique_ptr<Operator> make_weights(TfLiteContext* context, const WeightNodes& nodes) {
  TfLiteNode* node = nullptr;
  TfLiteRegistration* registration = nullptr;
  if (context->GetNodeAndRegistration(context, nodes.nodes[0], &node, &registration) != kTfLiteOk) return nullptr;
  auto made = std::make_unique<Weights>(describe(context, node, "LceDequantize"), nodes);
  made->unpack(context);
  return made;
}

}  // namespace lqe
