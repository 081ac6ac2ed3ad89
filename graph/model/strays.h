// Parameters that training would leave out, as the model does not know them. For the files of this folder.
#pragma once
#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/model/body.h>

namespace twopass {

/// Of the parameters that a step has read, those that are trainable and have a gradient but are none of the model's.
Parameters strays_among(const Parameters& read, const Gradients& gradients, const Parameters& known);

/// Of the parameters that a step has read, all that are none of the model's.
Parameters outsiders_among(const Parameters& read, const Parameters& known);

/// What is wrong with such a parameter: the layer of `body` that reads it in such a call, found by calling them one by
/// one, and what makes the model know it.
Error stray_error(const ModelBody& body, const Parameter& stray, const Tensors& inputs, const CallContext& context);

}  // namespace twopass
