// A client made of the unmodified ttrpc package of Debian (golang-github-containerd-ttrpc-dev).
//
//	goclient transport SOCKET           drives the server of TTRPCTests
//	goclient daemon ADMIN-SOCKET BROKER-SOCKET   drives caregd
//
// It prints one line for each thing that it has seen to be right, and ends with status 1 at the first that is not.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"os"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	"github.com/sirupsen/logrus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// longest is how long a call may take that ought to be answered.
const longest = 30 * time.Second

func main() {
	// Late answers are no error of ours: the package complains of each.
	logrus.SetLevel(logrus.PanicLevel)
	switch {
	case len(os.Args) == 3 && os.Args[1] == "transport":
		driveTransport(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "daemon":
		driveDaemon(os.Args[2], os.Args[3])
	default:
		fail("usage: goclient transport SOCKET | goclient daemon ADMIN-SOCKET BROKER-SOCKET")
	}
}

func fail(format string, arguments ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}

func dial(path string) *ttrpc.Client {
	connection, err := net.Dial("unix", path)
	if err != nil {
		fail("dial: %v", err)
	}
	return ttrpc.NewClient(connection)
}

func patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), longest)
}

// each runs the body on many goroutines at once and fails with the first error.
func each(count int, body func(number int) error) {
	var wait sync.WaitGroup
	errs := make(chan error, count)
	for number := 0; number < count; number++ {
		wait.Add(1)
		go func(number int) {
			defer wait.Done()
			if err := body(number); err != nil {
				errs <- fmt.Errorf("goroutine %d: %w", number, err)
			}
		}(number)
	}
	wait.Wait()
	close(errs)
	if err, ok := <-errs; ok {
		fail("%v", err)
	}
}

// expectStatus wants a refusal with this code.
func expectStatus(err error, code codes.Code) (*status.Status, error) {
	if err == nil {
		return nil, fmt.Errorf("answered, and not refused with %v", code)
	}
	refusal, ok := status.FromError(err)
	if !ok || refusal.Code() != code {
		return nil, fmt.Errorf("%v instead of %v", err, code)
	}
	return refusal, nil
}

func must(what string, err error) {
	if err != nil {
		fail("%s: %v", what, err)
	}
	fmt.Println(what)
}

// MARK: The server of TTRPCTests

// Payload is a message of one field: bytes data = 1.
type Payload struct {
	Data []byte `protobuf:"bytes,1,opt,name=data,proto3"`
}

func (m *Payload) Reset()         { *m = Payload{} }
func (m *Payload) String() string { return fmt.Sprintf("%d bytes", len(m.Data)) }
func (m *Payload) ProtoMessage()  {}

const testService = "test.Service"

func call(client *ttrpc.Client, method string, data []byte) ([]byte, error) {
	ctx, cancel := patient()
	defer cancel()
	answer := &Payload{}
	err := client.Call(ctx, testService, method, &Payload{Data: data}, answer)
	return answer.Data, err
}

func echo(client *ttrpc.Client, method string, data []byte) error {
	answer, err := call(client, method, data)
	if err != nil {
		return fmt.Errorf("%s of %d bytes: %w", method, len(data), err)
	}
	if !bytes.Equal(answer, data) {
		return fmt.Errorf("%s of %d bytes came back as %d others", method, len(data), len(answer))
	}
	return nil
}

func driveTransport(path string) {
	client := dial(path)
	must("a call is answered", echo(client, "Echo", []byte("hello")))
	must("an empty call is answered", echo(client, "Echo", nil))

	each(32, func(number int) error {
		random := rand.New(rand.NewSource(int64(number)))
		for round := 0; round < 100; round++ {
			data := make([]byte, random.Intn(20_000))
			random.Read(data)
			// Answers of the one overtake those of the other.
			if err := echo(client, []string{"Echo", "EchoLater"}[random.Intn(2)], data); err != nil {
				return err
			}
		}
		return nil
	})
	fmt.Println("32 goroutines share a connection")

	each(64, func(number int) error {
		client := dial(path)
		defer client.Close()
		for round := 0; round < 20; round++ {
			if err := echo(client, "EchoLater", []byte{byte(number), byte(round)}); err != nil {
				return err
			}
		}
		return nil
	})
	fmt.Println("64 connections at once")

	must("a request of 1 MiB is answered", echo(client, "Echo", make([]byte, 1_048_576-64)))
	_, err := call(client, "Echo", make([]byte, 1_048_576))
	_, err = expectStatus(err, codes.ResourceExhausted)
	must("a larger one is refused", err)
	must("the connection lives", echo(client, "Echo", []byte{1}))
	driveLarge(client)

	_, err = call(client, "Fail", nil)
	refusal, err := expectStatus(err, codes.NotFound)
	if err == nil {
		details := refusal.Proto().GetDetails()
		if refusal.Message() != "no such thing" || len(details) != 1 ||
			details[0].GetTypeUrl() != "type.googleapis.com/test.Info" || !bytes.Equal(details[0].GetValue(), []byte{1, 2, 3}) {
			err = fmt.Errorf("status %v", refusal.Proto())
		}
	}
	must("a refusal has its code, its message and its details", err)

	_, err = call(client, "Frobnicate", nil)
	_, err = expectStatus(err, codes.Unimplemented)
	must("an unknown method is unimplemented", err)
	driveDeadlines(client)
	driveMetadata(client)
	driveClose(path)
}

func driveLarge(client *ttrpc.Client) {
	// An answer of as many letters "a" is nine of them at a time: field 12, eight bytes; unknown, and skipped.
	ask := func(count int) error {
		ctx, cancel := patient()
		defer cancel()
		return client.Call(ctx, testService, "LargeText", &Payload{Data: []byte(fmt.Sprint(count))}, &Payload{})
	}
	must("an answer as large as a frame is read", ask(9*466_033))
	_, err := expectStatus(ask(9*466_034), codes.ResourceExhausted)
	must("one that fits in no frame is a refusal, and does not crash", err)
	each(16, func(number int) error { return ask(9 * 50_000) })
	fmt.Println("large answers on many goroutines")
}

func driveDeadlines(client *ttrpc.Client) {
	each(16, func(number int) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(10+number)*time.Millisecond)
		defer cancel()
		err := client.Call(ctx, testService, "Hold", &Payload{}, &Payload{})
		// The package gives up at the same time as the server does.
		if errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		_, err = expectStatus(err, codes.DeadlineExceeded)
		return err
	})
	must("calls expire, and the connection lives", echo(client, "Echo", []byte{2}))
}

func driveMetadata(client *ttrpc.Client) {
	ctx, cancel := patient()
	defer cancel()
	metadata := ttrpc.MD{}
	metadata.Append("trace", "one", "two")
	metadata.Append("other", "ä")
	answer := &Payload{}
	err := client.Call(ttrpc.WithMetadata(ctx, metadata), testService, "Echo", &Payload{Data: []byte{3}}, answer)
	if err == nil && !bytes.Equal(answer.Data, []byte{3}) {
		err = errors.New("another answer")
	}
	must("metadata is read over", err)
}

func driveClose(path string) {
	client := dial(path)
	closed := make(chan error, 1)
	go func() {
		_, err := call(client, "Hold", nil)
		closed <- err
	}()
	if err := echo(client, "Echo", []byte{4}); err != nil {
		fail("%v", err)
	}
	client.Close()
	if err := <-closed; err == nil {
		fail("a call was answered after its connection was closed")
	}
	fmt.Println("a client may close with a call in flight")
}

// MARK: caregd

type statusResponse struct {
	Status *daemonStatus `protobuf:"bytes,1,opt,name=status,proto3"`
}

type daemonStatus struct {
	Version       string `protobuf:"bytes,1,opt,name=version,proto3"`
	Region        string `protobuf:"bytes,2,opt,name=region,proto3"`
	Revision      uint64 `protobuf:"varint,4,opt,name=revision,proto3"`
	InstanceCount uint32 `protobuf:"varint,7,opt,name=instance_count,proto3"`
}

type instance struct {
	ID       string `protobuf:"bytes,1,opt,name=id,proto3"`
	Edition  int32  `protobuf:"varint,2,opt,name=edition,proto3"`
	Revision uint64 `protobuf:"varint,6,opt,name=revision,proto3"`
}

type instanceResponse struct {
	Instance *instance `protobuf:"bytes,1,opt,name=instance,proto3"`
}

type verifyRequest struct {
	InstanceID string   `protobuf:"bytes,1,opt,name=instance_id,proto3"`
	Chain      [][]byte `protobuf:"bytes,2,rep,name=chain,proto3"`
	DryRun     bool     `protobuf:"varint,3,opt,name=dry_run,proto3"`
}

type verdict struct {
	Trusted bool   `protobuf:"varint,1,opt,name=trusted,proto3"`
	Reason  int32  `protobuf:"varint,2,opt,name=reason,proto3"`
	Detail  string `protobuf:"bytes,9,opt,name=detail,proto3"`
}

type verifyResponse struct {
	Verdict *verdict `protobuf:"bytes,1,opt,name=verdict,proto3"`
}

func (m *statusResponse) Reset()           { *m = statusResponse{} }
func (m *statusResponse) String() string   { return "status" }
func (m *statusResponse) ProtoMessage()    {}
func (m *daemonStatus) Reset()             { *m = daemonStatus{} }
func (m *daemonStatus) String() string     { return m.Region }
func (m *daemonStatus) ProtoMessage()      {}
func (m *instance) Reset()                 { *m = instance{} }
func (m *instance) String() string         { return m.ID }
func (m *instance) ProtoMessage()          {}
func (m *instanceResponse) Reset()         { *m = instanceResponse{} }
func (m *instanceResponse) String() string { return "instance" }
func (m *instanceResponse) ProtoMessage()  {}
func (m *verifyRequest) Reset()            { *m = verifyRequest{} }
func (m *verifyRequest) String() string    { return m.InstanceID }
func (m *verifyRequest) ProtoMessage()     {}
func (m *verdict) Reset()                  { *m = verdict{} }
func (m *verdict) String() string          { return m.Detail }
func (m *verdict) ProtoMessage()           {}
func (m *verifyResponse) Reset()           { *m = verifyResponse{} }
func (m *verifyResponse) String() string   { return "verdict" }
func (m *verifyResponse) ProtoMessage()    {}

const (
	registryService = "careg.v1.RegistryService"
	verifierService = "careg.v1.VerifierService"
	adminService    = "careg.v1.AdminService"

	professional         = 2
	instanceUnknown      = 2
	certificateMalformed = 3
)

// expectReason wants a refusal with this code and, in its one ErrorInfo, this reason.
func expectReason(err error, code codes.Code, reason string) error {
	refusal, err := expectStatus(err, code)
	if err != nil {
		return err
	}
	details := refusal.Details()
	if len(details) != 1 {
		return fmt.Errorf("%d details: %v", len(details), details)
	}
	info, ok := details[0].(*errdetails.ErrorInfo)
	if !ok || info.GetReason() != reason || info.GetDomain() != "careg" || refusal.Message() == "" {
		return fmt.Errorf("%q, %v", refusal.Message(), details[0])
	}
	return nil
}

func driveDaemon(adminPath, brokerPath string) {
	admin, broker := dial(adminPath), dial(brokerPath)
	ctx, cancel := patient()
	defer cancel()

	before := &statusResponse{}
	err := admin.Call(ctx, adminService, "GetStatus", &Payload{}, before)
	if err == nil && (before.Status == nil || before.Status.Region == "" || before.Status.Version == "") {
		err = fmt.Errorf("status %+v", before.Status)
	}
	must("GetStatus tells version and region", err)

	each(16, func(number int) error {
		id := fmt.Sprintf("go-%d", number)
		made := &instanceResponse{}
		err := admin.Call(ctx, registryService, "CreateInstance", &instance{ID: id, Edition: professional}, made)
		if err != nil {
			return err
		}
		if made.Instance == nil || made.Instance.ID != id || made.Instance.Edition != professional {
			return fmt.Errorf("made %+v", made.Instance)
		}
		read := &instanceResponse{}
		if err := admin.Call(ctx, registryService, "GetInstance", &instance{ID: id}, read); err != nil {
			return err
		}
		if read.Instance == nil || *read.Instance != *made.Instance {
			return fmt.Errorf("read %+v, made %+v", read.Instance, made.Instance)
		}
		err = admin.Call(ctx, registryService, "CreateInstance", &instance{ID: id, Edition: professional}, made)
		return expectReason(err, codes.AlreadyExists, "INSTANCE_ALREADY_EXISTS")
	})
	fmt.Println("16 goroutines make instances, read them, and are refused a second time")

	after := &statusResponse{}
	err = admin.Call(ctx, adminService, "GetStatus", &Payload{}, after)
	if err == nil && (after.Status.InstanceCount != before.Status.InstanceCount+16 ||
		after.Status.Revision < before.Status.Revision+16) {
		err = fmt.Errorf("%+v after %+v", after.Status, before.Status)
	}
	must("GetStatus counts them", err)

	each(32, func(number int) error {
		for round := 0; round < 50; round++ {
			question, reason := &verifyRequest{InstanceID: "nobody", Chain: [][]byte{{1}}}, int32(instanceUnknown)
			if round%2 == 1 {
				question, reason = &verifyRequest{InstanceID: "go-1", Chain: [][]byte{{0x30, 0}}}, certificateMalformed
			}
			answer := &verifyResponse{}
			if err := broker.Call(ctx, verifierService, "Verify", question, answer); err != nil {
				return err
			}
			if answer.Verdict == nil || answer.Verdict.Trusted || answer.Verdict.Reason != reason {
				return fmt.Errorf("verdict %+v", answer.Verdict)
			}
		}
		return nil
	})
	fmt.Println("32 goroutines ask for verdicts")

	err = broker.Call(ctx, adminService, "GetStatus", &Payload{}, &statusResponse{})
	must("the brokers' socket refuses GetStatus", expectReason(err, codes.PermissionDenied, "CALLER_NOT_ALLOWED"))
	err = admin.Call(ctx, registryService, "GetInstance", &instance{ID: "nobody"}, &instanceResponse{})
	must("an unknown instance is not found", expectReason(err, codes.NotFound, "INSTANCE_NOT_FOUND"))
	err = admin.Call(ctx, registryService, "Frobnicate", &Payload{}, &Payload{})
	must("an unknown method is unimplemented", expectReason(err, codes.Unimplemented, "METHOD_UNKNOWN"))
	err = admin.Call(ctx, registryService, "GetInstance", &instance{ID: string(make([]byte, 1_100_000))}, &Payload{})
	must("a request over 1 MiB is refused", expectReason(err, codes.ResourceExhausted, "LIMIT_REACHED"))

	short, cancelShort := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancelShort()
	err = broker.Call(short, verifierService, "Poll", &poll{Since: after.Status.Revision, MaxWait: &seconds{Seconds: 30}}, &Payload{})
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		err = expectReason(err, codes.DeadlineExceeded, "DEADLINE_EXCEEDED")
	} else {
		err = nil
	}
	must("a Poll ends with its deadline", err)
	err = broker.Call(ctx, verifierService, "Verify", &verifyRequest{InstanceID: "nobody"}, &verifyResponse{})
	must("the connection lives", err)
}

type poll struct {
	Since   uint64   `protobuf:"varint,1,opt,name=since_revision,proto3"`
	MaxWait *seconds `protobuf:"bytes,2,opt,name=max_wait,proto3"`
}

// seconds is a google.protobuf.Duration.
type seconds struct {
	Seconds int64 `protobuf:"varint,1,opt,name=seconds,proto3"`
}

func (m *poll) Reset()            { *m = poll{} }
func (m *poll) String() string    { return "poll" }
func (m *poll) ProtoMessage()     {}
func (m *seconds) Reset()         { *m = seconds{} }
func (m *seconds) String() string { return "seconds" }
func (m *seconds) ProtoMessage()  {}
