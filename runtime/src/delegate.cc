// The delegate: claims LCE's operators in a graph, and the symbols under which LiteRT loads it.
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "operators.h"
#include "pruned.h"
#include "signs.h"
#include "version.h"
#include "weights.h"

namespace lqe {
namespace {

struct Delegate {
  TfLiteDelegate base = {};
  Options options;
  Threads threads;
  std::mutex claiming;                // held while a graph is claimed
  std::unique_ptr<Operator> claimed;  // on its way to the node that the interpreter makes for it
};

struct Node {
  std::unique_ptr<Operator> work;
  Threads* threads;
};

// No C++ exception may leave through the C interface; what can be thrown here is a lack of memory.
template <class Call>
TfLiteStatus guarded(TfLiteContext* context, Call call) {
  try {
    return call();
  } catch (const std::exception& error) {
    return fail(context, "out of resources", "%s", error.what());
  }
}

void* init(TfLiteContext*, const char* buffer, size_t) {
  auto* params = reinterpret_cast<const TfLiteDelegateParams*>(buffer);
  auto* delegate = static_cast<Delegate*>(params->delegate->data_);
  return new (std::nothrow) Node{std::move(delegate->claimed), &delegate->threads};
}

void release(TfLiteContext*, void* node) { delete static_cast<Node*>(node); }

TfLiteStatus prepare(TfLiteContext* context, TfLiteNode* node) {
  auto* data = static_cast<Node*>(node->user_data);
  if (data == nullptr || data->work == nullptr) return fail(context, "out of resources", "a node was not made");
  return guarded(context, [&] { return data->work->prepare(context); });
}

TfLiteStatus invoke(TfLiteContext* context, TfLiteNode* node) {
  auto* data = static_cast<Node*>(node->user_data);
  return guarded(context, [&] { return data->work->invoke(context, data->threads); });
}

struct Maker {
  const char* name;
  std::unique_ptr<Operator> (*make)(TfLiteContext*, const TfLiteNode*, const Options&);
};

constexpr Maker kMakers[] = {
    {"LceQuantize", make_quantize},
    {"LceDequantize", make_dequantize},
    {"LceBMaxPool2d", make_max_pool},
    {"LceBconv2d", make_convolution},
};

TfLiteStatus claim(TfLiteContext* context, TfLiteDelegate* base, std::unique_ptr<Operator> work, const char* name,
                   const std::vector<int>& nodes) {
  TfLiteRegistration registration = {};
  registration.init = init;
  registration.free = release;
  registration.prepare = prepare;
  registration.invoke = invoke;
  registration.custom_name = name;
  registration.version = 1;
  std::vector<int> array = nodes;  // laid out as a TfLiteIntArray: the size, then the values
  array.insert(array.begin(), int(nodes.size()));
  static_cast<Delegate*>(base->data_)->claimed = std::move(work);
  return context->ReplaceNodeSubsetsWithDelegateKernels(
      context, registration, reinterpret_cast<const TfLiteIntArray*>(array.data()), base);
}

// The layouts that were declared by hand are those of this runtime, as far as a look can tell.
bool interface_is_known(TfLiteContext* context) {
  if (context->GetExecutionPlan == nullptr || context->GetNodeAndRegistration == nullptr ||
      context->ReplaceNodeSubsetsWithDelegateKernels == nullptr || context->ResizeTensor == nullptr ||
      context->ReportError == nullptr)
    return false;
  if (context->tensors_size > 1 << 24 || (context->tensors_size > 0 && context->tensors == nullptr)) return false;
  for (size_t i = 0; i < context->tensors_size; ++i) {
    const TfLiteTensor& tensor = context->tensors[i];
    if (tensor.dims != nullptr && (tensor.dims->size < 0 || tensor.dims->size > 64)) return false;
    bool wide = tensor.type == kTfLiteFloat32 || tensor.type == kTfLiteInt32;
    if (wide && is_constant(tensor) && tensor.sparsity == nullptr &&
        tensor.bytes != 4 * size_t(elements(shape_of(tensor))))
      return false;
  }
  return true;
}

// The file of the runtime that calls us, and its version where it tells one.
std::string name_of_host(const TfLiteContext* context) {
  const void* function = reinterpret_cast<const void*>(context->GetExecutionPlan);
  if (function == nullptr) function = reinterpret_cast<const void*>(context->ReportError);
  Dl_info found = {};
  if (dladdr(function, &found) == 0 || found.dli_fname == nullptr) return "an unknown library";
  std::string name = found.dli_fname;
  void* library = dlopen(found.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return name;
  for (const char* symbol : {"TfLiteVersion", "TF_Version"}) {
    auto* version = reinterpret_cast<const char* (*)()>(dlsym(library, symbol));
    if (version == nullptr) continue;
    name += std::string(" ") + version();
    break;
  }
  dlclose(library);
  return name;
}

// Claims the pruned layers, three nodes each, and names those nodes in `fused`.
TfLiteStatus claim_pruned(TfLiteContext* context, TfLiteDelegate* base, const std::vector<int>& plan,
                          std::set<int>* fused) {
  std::vector<PrunedNodes> found;
  if (find_pruned(context, plan, &found) != kTfLiteOk) return kTfLiteError;
  for (const PrunedNodes& nodes : found) {
    bool failed = false;
    std::unique_ptr<Operator> work = make_pruned(context, nodes, static_cast<Delegate*>(base->data_)->options, &failed);
    if (failed) return kTfLiteError;
    if (work == nullptr) continue;
    if (claim(context, base, std::move(work), "LceBconv2d pruned", {nodes.first, nodes.second, nodes.sum}) != kTfLiteOk)
      return kTfLiteError;
    fused->insert({nodes.first, nodes.second, nodes.sum});
  }
  return kTfLiteOk;
}

// Claims the convolutions of which signs alone are read, two nodes each, and names those nodes in `fused`.
TfLiteStatus claim_signs(TfLiteContext* context, TfLiteDelegate* base, const std::vector<int>& plan,
                         std::set<int>* fused) {
  std::vector<SignNodes> found;
  if (find_signs(context, plan, &found) != kTfLiteOk) return kTfLiteError;
  for (const SignNodes& nodes : found) {
    std::unique_ptr<Operator> work = make_signs(context, nodes, static_cast<Delegate*>(base->data_)->options);
    if (work == nullptr) return kTfLiteError;
    if (claim(context, base, std::move(work), "LceBconv2d signs", {nodes.convolution, nodes.quantize}) != kTfLiteOk)
      return kTfLiteError;
    fused->insert({nodes.convolution, nodes.quantize});
  }
  return kTfLiteOk;
}

// Claims the constant kernels that several nodes make, and names those nodes in `fused`.
TfLiteStatus claim_weights(TfLiteContext* context, TfLiteDelegate* base, const std::vector<int>& plan,
                           std::set<int>* fused) {
  std::vector<WeightNodes> found;
  if (find_weights(context, plan, &found) != kTfLiteOk) return kTfLiteError;
  for (const WeightNodes& nodes : found) {
    std::unique_ptr<Operator> work = make_weights(context, nodes);
    if (work == nullptr) return kTfLiteError;
    if (claim(context, base, std::move(work), "LceDequantize", nodes.nodes) != kTfLiteOk) return kTfLiteError;
    fused->insert(nodes.nodes.begin(), nodes.nodes.end());
  }
  return kTfLiteOk;
}

TfLiteStatus claim_all(TfLiteContext* context, TfLiteDelegate* base) {
  auto* delegate = static_cast<Delegate*>(base->data_);
  if (!interface_is_known(context)) {
    const std::string text = "larq-equalbits: the interface of " + name_of_host(context) +
                             " is not the one that larq-equalbits-runtime " LQE_RUNTIME_VERSION
                             " knows, which is that of ai-edge-litert 1.0.0 to 2.3, tflite-runtime 2.14 and TensorFlow "
                             "2.16 to 2.21";
    if (context->ReportError != nullptr) context->ReportError(context, "%s", text.c_str());
    return kTfLiteError;
  }
  TfLiteIntArray* plan = nullptr;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk || plan == nullptr) return kTfLiteError;
  const std::vector<int> nodes(plan->data, plan->data + plan->size);
  std::set<int> fused;
  if (delegate->options.ternary && claim_pruned(context, base, nodes, &fused) != kTfLiteOk) return kTfLiteError;
  if (claim_signs(context, base, nodes, &fused) != kTfLiteOk) return kTfLiteError;
  if (claim_weights(context, base, nodes, &fused) != kTfLiteOk) return kTfLiteError;
  for (int index : nodes) {
    if (fused.count(index)) continue;
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) return kTfLiteError;
    if (registration->custom_name == nullptr) continue;
    for (const Maker& maker : kMakers) {
      if (std::strcmp(registration->custom_name, maker.name) != 0) continue;
      std::unique_ptr<Operator> work = maker.make(context, node, delegate->options);
      if (work == nullptr) return kTfLiteError;
      // One operator at a time: then the interpreter allocates the tensors between them.
      if (claim(context, base, std::move(work), maker.name, {index}) != kTfLiteOk) return kTfLiteError;
      break;
    }
  }
  return kTfLiteOk;
}

TfLiteStatus prepare_graph(TfLiteContext* context, TfLiteDelegate* base) {
  std::lock_guard<std::mutex> lock(static_cast<Delegate*>(base->data_)->claiming);
  return guarded(context, [&] { return claim_all(context, base); });
}

}  // namespace
}  // namespace lqe

#define LQE_EXPORT extern "C" __attribute__((visibility("default")))

LQE_EXPORT const char* lqe_runtime_version() { return LQE_RUNTIME_VERSION; }

LQE_EXPORT const char* lqe_runtime_kernels() { return lqe::kernel_names(); }

LQE_EXPORT TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values, size_t num_options,
                                                         void (*report_error)(const char*)) {
  try {
    auto delegate = std::make_unique<lqe::Delegate>();
    std::string error;
    // Python passes a C int for the size_t: its upper half is not set.
    if (!lqe::read_options(keys, values, num_options & 0xffffffffu, &delegate->options, &error)) {
      if (report_error != nullptr) report_error(error.c_str());
      return nullptr;
    }
    delegate->base.data_ = delegate.get();
    delegate->base.Prepare = lqe::prepare_graph;
    // With any other flags LiteRT wants to prepare LCE's operators itself, which it cannot.
    delegate->base.flags = kTfLiteDelegateFlagsAllowDynamicTensors;
    return &delegate.release()->base;
  } catch (const std::exception& error) {
    if (report_error != nullptr) report_error(error.what());
    return nullptr;
  }
}

LQE_EXPORT void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  if (delegate != nullptr) delete static_cast<lqe::Delegate*>(delegate->data_);
}
