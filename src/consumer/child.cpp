// Child uses posix_spawn, pipes for standard input and standard error, and waitpid.
//
// Standard output is the consumer's. Standard error is copied to the consumer's as it arrives, and
// its end is kept for the job. When the program has ended, the pipe's present contents are read and
// no more is waited for: a process that the program left behind may keep the pipe open for ever.
#include "consumer/child.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <spawn.h>
#include <string_view>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace ecto_job::consumer {

namespace {

// fail_job keeps 8 kB, of which the exit status takes the beginning
constexpr std::size_t stderr_limit = 7'000;

void check(int error, const char *what) {
    if (error != 0)
        throw std::system_error(error, std::generic_category(), what);
}

// Resets the signals to their defaults, and requests a process group for the child.
class Attributes {
public:
    Attributes() {
        check(posix_spawnattr_init(&attributes_), "posix_spawnattr_init");
        sigset_t reset;
        sigemptyset(&reset);
        for (const int signal : {SIGPIPE, SIGTERM, SIGINT, SIGCHLD})
            sigaddset(&reset, signal);
        posix_spawnattr_setsigdefault(&attributes_, &reset);
        posix_spawnattr_setpgroup(&attributes_, 0);
        posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    }
    Attributes(const Attributes &) = delete;
    Attributes &operator=(const Attributes &) = delete;
    ~Attributes() { posix_spawnattr_destroy(&attributes_); }
    const posix_spawnattr_t *get() const { return &attributes_; }

private:
    posix_spawnattr_t attributes_{};
};

class Redirections {
public:
    Redirections() {
        check(posix_spawn_file_actions_init(&actions_), "posix_spawn_file_actions_init");
    }
    Redirections(const Redirections &) = delete;
    Redirections &operator=(const Redirections &) = delete;
    ~Redirections() { posix_spawn_file_actions_destroy(&actions_); }
    void add(const Descriptor &from, int to) {
        check(posix_spawn_file_actions_adddup2(&actions_, from.get(), to), "adddup2");
    }
    const posix_spawn_file_actions_t *get() const { return &actions_; }

private:
    posix_spawn_file_actions_t actions_{};
};

// Returns whether a variable of the consumer's own environment would speak for a job.
bool is_of_a_job(std::string_view variable) {
    return variable.starts_with("ECTO_JOB_") || variable.starts_with("TRACEPARENT=") ||
           variable.starts_with("TRACESTATE=");
}

pid_t spawn(const std::string &command, const std::vector<std::string> &variables,
            const Redirections &redirections) {
    // posix_spawn does not write to its char * arguments.
    const auto text = [](const std::string &value) { return const_cast<char *>(value.c_str()); };
    static const std::string shell = "sh";
    static const std::string option = "-c";
    std::array<char *, 4> arguments{text(shell), text(option), text(command), nullptr};
    std::vector<char *> environment;
    for (char **variable = environ; *variable != nullptr; variable++)
        if (!is_of_a_job(*variable))
            environment.push_back(*variable);
    for (const std::string &variable : variables)
        environment.push_back(text(variable));
    environment.push_back(nullptr);
    pid_t pid = 0;
    check(posix_spawn(&pid, "/bin/sh", redirections.get(), Attributes().get(), arguments.data(),
                      environment.data()),
          "cannot start /bin/sh");
    return pid;
}

// Writes to the consumer's standard error. Errors are ignored, since the job's error keeps the
// text.
void pass_on(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t written = write(STDERR_FILENO, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
}

} // namespace

Child::Child(const std::string &command, const std::vector<std::string> &variables,
             std::string &&input)
    : stderr_tail_(stderr_limit) {
    Pipe to_stdin;
    Pipe from_stderr;
    Redirections redirections;
    redirections.add(to_stdin.read_end, STDIN_FILENO);
    redirections.add(from_stderr.write_end, STDERR_FILENO);
    pid_ = spawn(command, variables, redirections);
    input_ = std::move(input);
    stdin_ = std::move(to_stdin.write_end);
    stderr_ = std::move(from_stderr.read_end);
    stdin_.set_nonblocking();
    stderr_.set_nonblocking();
    write_input();
}

void Child::watch(Poller &poller) {
    if (stdin_.open())
        poller.watch(stdin_.get(), POLLOUT, [this] { write_input(); });
    if (stderr_.open())
        poller.watch(stderr_.get(), POLLIN, [this] { read_stderr(); });
}

// Writes as much input as the pipe takes. EPIPE ends it: a program may end or close its input
// unread.
void Child::write_input() {
    while (written_ < input_.size()) {
        const ssize_t written =
            write(stdin_.get(), input_.data() + written_, input_.size() - written_);
        if (written < 0 && errno == EAGAIN)
            return;
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break;
        written_ += static_cast<std::size_t>(written);
    }
    stdin_.close();
    input_ = {};
}

// Reads at most what a pipe holds, so that a program that writes without end cannot block the loop.
void Child::read_stderr() {
    std::array<char, 4'096> buffer{};
    for (int i = 0; i < 16; i++) {
        const ssize_t length = read(stderr_.get(), buffer.data(), buffer.size());
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0 && errno == EAGAIN)
            return;
        if (length <= 0)
            return stderr_.close();
        const std::string_view bytes(buffer.data(), static_cast<std::size_t>(length));
        pass_on(bytes);
        stderr_tail_.append(bytes);
    }
}

bool Child::ended() {
    if (pid_ != 0 && waitpid(pid_, &status_, WNOHANG) == pid_) {
        pid_ = 0;
        if (stderr_.open())
            read_stderr();
    }
    return pid_ == 0;
}

void Child::kill(int signal) const {
    if (pid_ != 0)
        ::kill(-pid_, signal);
}

std::optional<std::string> Child::failure() const {
    const auto status = exit_status();
    if (!status)
        return "killed by signal " + std::to_string(WTERMSIG(status_));
    if (*status == 0)
        return std::nullopt;
    return "exit status " + std::to_string(*status);
}

std::optional<int> Child::exit_status() const {
    if (WIFSIGNALED(status_))
        return std::nullopt;
    return WEXITSTATUS(status_);
}

} // namespace ecto_job::consumer
