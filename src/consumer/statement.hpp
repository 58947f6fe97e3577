// A statement with its parameters, ready to be sent. Values travel beside the text, never in it.
//
// The server finds a parameter's type where `type` is 0. Binary is for bytes that text cannot
// carry: bytea, and whatever may hold NUL. No lock.
#pragma once

#include <libpq-fe.h>
#include <optional>
#include <string>
#include <vector>

namespace ecto_job::consumer {

struct Parameter {
    std::optional<std::string> value; // nullopt = NULL
    Oid type = 0;
    bool binary = false;
};

struct Statement {
    std::string text;
    std::vector<Parameter> parameters = {};
    bool binary_result = false;
    bool only_prepare = false; // parse it, to see whether the server takes it
};

} // namespace ecto_job::consumer
