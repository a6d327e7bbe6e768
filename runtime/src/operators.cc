#include "operators.h"

#include <algorithm>

#include "attributes.h"

namespace lqe {

int thread_count(const TfLiteContext* context) {
  constexpr int kMost = 256;
  return std::min(std::max(context->recommended_num_threads, 1), kMost);
}

std::string describe(const TfLiteContext* context, const TfLiteNode* node, const char* name) {
  std::string text = name;
  if (node->outputs == nullptr || node->outputs->size < 1) return text;
  int index = node->outputs->data[0];
  if (index < 0 || size_t(index) >= context->tensors_size || context->tensors[index].name == nullptr) return text;
  return text + " (output " + context->tensors[index].name + ")";
}

bool check_tensors(TfLiteContext* context, const TfLiteNode* node, int inputs, int needed, const std::string& what) {
  int found = node->inputs == nullptr ? 0 : node->inputs->size, outputs = node->outputs == nullptr ? 0 : node->outputs->size;
  if (found != inputs || outputs != 1) {
    fail(context, what, "it has %d inputs and %d outputs; it must have %d and 1", found, outputs, inputs);
    return false;
  }
  auto in_graph = [&](int index) { return index >= 0 && size_t(index) < context->tensors_size; };
  for (int i = 0; i < inputs; ++i) {
    int index = node->inputs->data[i];
    if (in_graph(index) || (i >= needed && index == -1)) continue;
    fail(context, what, "input %d is no tensor of the graph (%d)", i, index);
    return false;
  }
  if (in_graph(node->outputs->data[0])) return true;
  fail(context, what, "its output is no tensor of the graph (%d)", node->outputs->data[0]);
  return false;
}

bool read_integer(TfLiteContext* context, const TfLiteNode* node, const std::string& what, const char* name,
                  int least, int most, int* value) {
  std::string error;
  int64_t read = 0;
  auto* bytes = static_cast<const uint8_t*>(node->custom_initial_data);
  size_t size = node->custom_initial_data_size > 0 ? size_t(node->custom_initial_data_size) : 0;
  if (!read_attribute(bytes, size, name, &read, &error)) {
    fail(context, what, "%s", error.c_str());
    return false;
  }
  if (read < least || read > most) {
    fail(context, what, "its attribute %s is %lld; it must be %d to %d", name, static_cast<long long>(read), least, most);
    return false;
  }
  *value = int(read);
  return true;
}

TfLiteStatus Operator::set_shape(TfLiteContext* context) {
  input_shape_ = shape_of(context->tensors[input()]);
  if (lay_out(context, input_shape_, &output_shape_) != kTfLiteOk) return kTfLiteError;
  if (elements(input_shape_) < 0 || elements(output_shape_) < 0)
    return fail(context, what_, "shapes %s to %s are too large", shape_text(input_shape_).c_str(),
                shape_text(output_shape_).c_str());
  return resize(context, &context->tensors[output()], output_shape_);
}

TfLiteStatus Operator::prepare(TfLiteContext* context) {
  if (is_constant(context->tensors[output()]) && !is_unpacked())
    return fail(context, what_, "its output is a constant of the file, which cannot be written to");
  if (!is_dynamic(context->tensors[input()])) return set_shape(context);
  // The shape of the input is known only when it has been computed.
  if (!is_unpacked()) context->tensors[output()].allocation_type = kTfLiteDynamic;
  return kTfLiteOk;
}

TfLiteStatus Operator::invoke(TfLiteContext* context, Threads* threads) {
  const TfLiteTensor &from = context->tensors[input()], &to = context->tensors[output()];
  if ((is_dynamic(from) || is_dynamic(to)) && set_shape(context) != kTfLiteOk) return kTfLiteError;
  if (shape_of(from) != input_shape_ || shape_of(to) != output_shape_)
    return fail(context, what_, "its tensors are %s and %s; it was prepared for %s and %s",
                shape_text(shape_of(from)).c_str(), shape_text(shape_of(to)).c_str(),
                shape_text(input_shape_).c_str(), shape_text(output_shape_).c_str());
  if (!holds(from, input_shape_) || !holds(to, output_shape_))
    return fail(context, what_, "%zu and %zu bytes are too few for its tensors %s and %s", from.bytes, to.bytes,
                shape_text(input_shape_).c_str(), shape_text(output_shape_).c_str());
  return elements(output_shape_) == 0 ? kTfLiteOk : compute(context, threads);
}

}  // namespace lqe
