// The signal handler and its pipe.
//
// The handler only writes one byte, without blocking. When the pipe is full a byte is lost, but
// then the loop wakes up anyway.
#include "consumer/signals.hpp"

#include <cerrno>
#include <csignal>
#include <unistd.h>

namespace ecto_job::consumer {

namespace {

constexpr char stop_byte = 's';
constexpr char child_byte = 'c';
volatile std::sig_atomic_t pipe_fd = -1;

void on_signal(int signal) {
    const int saved = errno;
    const char byte = signal == SIGCHLD ? child_byte : stop_byte;
    [[maybe_unused]] const auto written = write(pipe_fd, &byte, 1);
    errno = saved;
}

} // namespace

Signals::Signals() {
    pipe_.read_end.set_nonblocking();
    pipe_.write_end.set_nonblocking();
    pipe_fd = pipe_.write_end.get();
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    for (const int signal : {SIGTERM, SIGINT, SIGCHLD})
        sigaction(signal, &action, nullptr);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, nullptr);
}

void Signals::watch(Poller &poller) {
    poller.watch(pipe_.read_end.get(), POLLIN, [this] { read_pipe(); });
}

// Reads the pipe even if poll() has not reported it, so that the step of the loop which a signal
// interrupted starts no new job.
int Signals::stops() {
    read_pipe();
    return stops_;
}

void Signals::read_pipe() {
    char bytes[64];
    ssize_t length = 0;
    while ((length = read(pipe_.read_end.get(), bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < length; i++)
            stops_ += bytes[i] == stop_byte ? 1 : 0;
}

} // namespace ecto_job::consumer
