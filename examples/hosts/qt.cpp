// phx on Qt: QWebSocketServer reads and writes frames. It would answer 101 before anybody can look at the request, so phx
// looks first: at the bytes of a QTcpSocket, which only then becomes a QWebSocket.

#include "app.hpp"

#include <phx/http/request_reader.hpp>

#include <QtCore/QAbstractEventDispatcher>
#include <QtCore/QCoreApplication>
#include <QtCore/QSocketNotifier>
#include <QtCore/QTimer>
#include <QtNetwork/QTcpServer>
#include <QtNetwork/QTcpSocket>
#include <QtWebSockets/QWebSocket>
#include <QtWebSockets/QWebSocketServer>

#include <algorithm>
#include <csignal>
#include <map>
#include <sys/signalfd.h>

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using admission = phx::admission<user>;
std::string_view view(QByteArray const& b) { return {b.constData(), static_cast<std::size_t>(b.size())}; }

struct server : QObject {
  application app{};
  phx::loop loop{app.endpoint, *this, app.bounds};
  std::optional<phx::turn_guard> turn{};  // one write for each connection, however much one wait brought
  QTcpServer listener{};
  QWebSocketServer websockets{"phx", QWebSocketServer::NonSecureMode};
  QTimer timer{};
  std::map<std::pair<QString, quint16>, admission> admitted{};  // by the peer, until Qt has written the 101
  std::size_t clients = 0;

  void wake() noexcept {         // from any thread
    auto const nothing = [] {};  // that Qt leaves its wait is enough: run() follows
    QMetaObject::invokeMethod(this, nothing, Qt::QueuedConnection);
  }
  void run() {  // before Qt waits
    phx::time_point const now = clock::now(), next = loop.run(now);
    turn.reset();  // writes
    turn.emplace(loop);
    if (loop.draining() && clients == 0) return QCoreApplication::quit();
    timer.start(std::chrono::ceil<std::chrono::milliseconds>(std::clamp<phx::duration>(next - now, 0ms, 1h)));
  }
  void accept() {
    while (QTcpSocket* const tcp = listener.nextPendingConnection()) {
      tcp->setSocketOption(QAbstractSocket::LowDelayOption, 1);
      auto* const opening = new QObject(tcp);  // until Qt has taken the socket over
      connect(tcp, &QTcpSocket::readyRead, opening, [this, tcp, opening] { read_request(tcp, opening); });
      connect(tcp, &QTcpSocket::disconnected, opening, [tcp] { tcp->deleteLater(); });
      QTimer::singleShot(10s, opening, [tcp] { tcp->abort(); });
    }
  }
  void read_request(QTcpSocket* tcp, QObject* opening) {
    QByteArray const head = tcp->peek(8 * 1024);  // Qt reads it again
    phx::http::request_reader reader(8 * 1024);
    phx::http::progress const progress = reader.read(view(head));
    if (progress == phx::http::progress::need_more) return;
    std::string const address = tcp->peerAddress().toString().toStdString();
    phx::http::response refusal{.status = reader.status()};
    if (progress == phx::http::progress::complete) {
      phx::request const request = reader.request({address, tcp->peerPort(), {}});
      auto judged = phx::handshake(app.mount, app.channels, request);
      auto upgrade = phx::upgrade_refusal(request);
      if (auto* const in = std::get_if<admission>(&judged); in != nullptr && !upgrade) {
        admitted.insert_or_assign({tcp->peerAddress().toString(), tcp->peerPort()}, std::move(*in));
        tcp->disconnect(opening), opening->deleteLater();
        return websockets.handleConnection(tcp);
      }
      auto* const no = std::get_if<phx::refused_request>(&judged);
      refusal = no != nullptr ? std::move(no->answer) : std::move(upgrade->answer);
    }
    tcp->readAll();  // or the kernel resets the connection, and the answer is lost
    tcp->write(QByteArray::fromStdString(phx::http::to_bytes(refusal)));
    tcp->disconnectFromHost();
  }
};
struct client : QObject {
  struct transport {  // phx::Transport. Qt buffers what it is given; flush writes it at once
    client* to;
    phx::send_status send(phx::frame const& f) noexcept {
      bool const is_text = f.op() == phx::opcode::text;
      (void)(is_text ? to->ws->sendTextMessage(QString::fromUtf8(f.data()))
                     : to->ws->sendBinaryMessage(QByteArrayView(f.data()).toByteArray()));
      return phx::send_status::ok;
    }
    std::size_t buffered() const noexcept { return static_cast<std::size_t>(to->ws->bytesToWrite()); }
    void flush() noexcept { to->ws->flush(); }
    void close(phx::close_frame reason) noexcept {
      to->closed = true;
      to->ws->close(static_cast<QWebSocketProtocol::CloseCode>(reason.code), QString::fromUtf8(reason.reason));
    }
  };
  client(server& s, QWebSocket* socket, admission in)
      : host(s), ws(socket), phoenix(s.loop, s.app.channels, std::move(in), transport{this}, clock::now()) {
    ++host.clients;
    ws->setParent(this);
    auto const text = [this](QString const& part) { receive(phx::opcode::text, part.toUtf8()); };
    auto const binary = [this](QByteArray const& part) { receive(phx::opcode::binary, part); };
    connect(ws, &QWebSocket::textMessageReceived, this, text);
    connect(ws, &QWebSocket::binaryMessageReceived, this, binary);
    ws->setMaxAllowedIncomingMessageSize(host.app.mount.bounds.frame);
    // Queued: Qt may emit these from inside of a write, and then phx is not to be called.
    auto const written = [this] {
      if (!closed && ws->bytesToWrite() == 0) closed = !phoenix.writable(clock::now());
    };
    auto const left = [this] {
      bool const lost = ws->closeCode() == QWebSocketProtocol::CloseCodeAbnormalDisconnection;
      phoenix.gone(lost ? phx::lost::error : phx::lost::normal), deleteLater();
    };
    connect(ws, &QWebSocket::bytesWritten, this, written, Qt::QueuedConnection);
    connect(ws, &QWebSocket::disconnected, this, left, Qt::QueuedConnection);
  }
  ~client() override { --host.clients; }
  void receive(phx::opcode op, QByteArray const& bytes) {
    if (!closed) (void)phoenix.receive(op, view(bytes), true, clock::now());
  }
  server& host;
  QWebSocket* ws;
  bool closed = false;
  phx::socket<transport, phx::router<user>> phoenix;
};

}  // namespace

int main(int argc, char** argv) {
  sigset_t terminated;
  sigemptyset(&terminated), sigaddset(&terminated, SIGTERM), sigprocmask(SIG_BLOCK, &terminated, nullptr);
  QCoreApplication qt(argc, argv);
  server host;
  QSocketNotifier sigterm(::signalfd(-1, &terminated, SFD_CLOEXEC), QSocketNotifier::Read);
  QObject::connect(&sigterm, &QSocketNotifier::activated, &host, [&] {
    sigterm.setEnabled(false), host.listener.close();
    host.loop.drain(host.app.drain, clock::now());
  });
  QObject::connect(&host.listener, &QTcpServer::newConnection, &host, &server::accept);
  QObject::connect(&host.websockets, &QWebSocketServer::newConnection, &host, [&host] {
    while (QWebSocket* const ws = host.websockets.nextPendingConnection())
      if (auto in = host.admitted.extract({ws->peerAddress().toString(), ws->peerPort()}))
        new client(host, ws, std::move(in.mapped()));
  });
  QObject::connect(QAbstractEventDispatcher::instance(), &QAbstractEventDispatcher::aboutToBlock, &host, &server::run);
  if (!host.listener.listen(QHostAddress::LocalHost, port_of(argc, argv))) return 1;
  announce(host.listener.serverPort());
  return QCoreApplication::exec();
}
