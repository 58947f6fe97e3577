// Table names and states from any bytes: an accepted name is read back unchanged, and a refused one
// has an error.
#include "core/channel.hpp"
#include "core/job_state.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

using namespace ecto_job;

namespace {

void require(bool truth) {
    if (!truth)
        std::abort();
}

void check_channel(const std::string &table, Notification notification, const std::string &suffix) {
    const bool has_nul = std::strlen(table.c_str()) != table.size();
    const auto made = channel(table, notification);
    require(made.has_value() == (!table.empty() && table.size() <= 53 && !has_nul));
    require(!made || ::strnlen(made->name, sizeof made->name) < sizeof made->name);
    require(!made || made->name == table + suffix);
}

void check_name(const std::string &table) {
    bool control = false;
    for (const char character : table) {
        const auto byte = static_cast<unsigned char>(character);
        control = control || byte <= 31 || byte == 127;
    }
    switch (check_table_name(table)) {
    case NameFault::none:
        require(!table.empty() && table.size() <= 53 && !control);
        break;
    case NameFault::empty:
        require(table.empty());
        break;
    case NameFault::too_long:
        require(table.size() > 53);
        break;
    case NameFault::control_character:
        require(control);
        break;
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *bytes, std::size_t size) {
    const std::string text(reinterpret_cast<const char *>(bytes), size);
    check_name(text);
    check_channel(text, Notification::available, "");
    check_channel(text, Notification::completed, ".completed");
    check_channel(text, Notification::retry, ".retry");
    check_channel(text, Notification::failed, ".failed");
    const auto state = state_from(text);
    require(!state || name(*state) == text);
    return 0;
}
