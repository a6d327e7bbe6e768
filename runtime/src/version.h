// The version of the library: the same as in runtime/pyproject.toml.
#pragma once

#define LQE_RUNTIME_VERSION "0.1.0"
