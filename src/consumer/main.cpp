// ecto_job_consumer performs the jobs of ecto_job's queues, by programs or by SQL statements.
//
// main() turns every outcome into an exit status: 0 stopped or drained, 1 fatal error, 2 usage
// error or no connection at the start. It leaves by quick_exit, because a thread may still be
// connecting, and exit() would destroy the data of libpq and its libraries under that thread.
#include "consumer/loop.hpp"
#include "consumer/options.hpp"
#include "consumer/report.hpp"
#include "consumer/shutdown.hpp"
#include "consumer/text.hpp"

#include <cstdlib>
#include <exception>
#include <fcntl.h>
#include <iostream>
#include <spdlog/spdlog.h>
#include <unistd.h>

namespace {

using namespace ecto_job::consumer;

// Opens /dev/null in place of each closed standard descriptor. Otherwise the next descriptor that
// is opened would get its number, and the log could be written into the connection to the server.
bool open_standard_descriptors() {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return false;
    return true;
}

int run(int argc, char **argv) {
    Options options;
    if (const auto status = parse_options(argc, argv, options))
        return *status;
    report::set_up(options.log_level);
    try {
        return Loop(options).run();
    } catch (const Unreachable &error) {
        spdlog::critical("no connection: {}", one_line(error.what()));
        return exit_no_connection;
    } catch (const std::exception &error) {
        spdlog::critical("{}", one_line(error.what()));
        return exit_fatal;
    }
}

} // namespace

int main(int argc, char **argv) {
    int status = exit_fatal;
    if (!open_standard_descriptors())
        std::quick_exit(status); // standard error is not usable
    try {
        status = run(argc, argv);
    } catch (const std::exception &error) {
        std::cerr << "ecto_job_consumer: " << error.what() << '\n';
    } catch (...) {
        std::cerr << "ecto_job_consumer: unknown error\n";
    }
    std::cout.flush();
    std::quick_exit(status);
}
