// Command volumes is the provisioner behind the default StorageClass: a directory for each claim.
//
// Volumes are of the type `local`, not `hostPath`: the kubelet then gives them to the pod's
// fsGroup, which programs that do not run as root need in order to write.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// directories makes volumes under one folder of the node.
type directories struct {
	root string
}

func (d *directories) Provision(_ context.Context, options controller.ProvisionOptions) (
	*v1.PersistentVolume, controller.ProvisioningState, error) {
	if options.PVC.Spec.VolumeMode != nil && *options.PVC.Spec.VolumeMode == v1.PersistentVolumeBlock {
		return nil, controller.ProvisioningFinished, fmt.Errorf("block volumes are not offered")
	}
	path := filepath.Join(d.root, options.PVName)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	// As the usual local provisioners do: the umask must not keep a pod of any user out.
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return volume(options, path), controller.ProvisioningFinished, nil
}

func volume(options controller.ProvisionOptions, path string) *v1.PersistentVolume {
	node := v1.NodeSelectorRequirement{
		Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{options.SelectedNodeName},
	}
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   options.PVC.Spec.AccessModes,
			Capacity: v1.ResourceList{
				v1.ResourceStorage: options.PVC.Spec.Resources.Requests[v1.ResourceStorage],
			},
			PersistentVolumeSource: v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: path}},
			NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{
				NodeSelectorTerms: []v1.NodeSelectorTerm{{
					MatchExpressions: []v1.NodeSelectorRequirement{node},
				}},
			}},
		},
	}
}

// Delete removes the directory, but nothing outside the folder, whatever the volume says.
func (d *directories) Delete(_ context.Context, pv *v1.PersistentVolume) error {
	if pv.Spec.Local == nil || !strings.HasPrefix(filepath.Clean(pv.Spec.Local.Path), d.root+"/") {
		return &controller.IgnoredError{Reason: "the volume is not in " + d.root}
	}
	return os.RemoveAll(filepath.Clean(pv.Spec.Local.Path))
}

func main() {
	klog.InitFlags(nil)
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	name := flag.String("provisioner", "", "the name that StorageClasses give")
	root := flag.String("root", "", "the folder that volumes are made in")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.Fatal(err)
	}
	provisioner := controller.NewProvisionController(
		ctx, kubernetes.NewForConfigOrDie(config), *name, &directories{root: filepath.Clean(*root)},
		// One program, started by the cluster itself: there is nobody to elect a leader among.
		controller.LeaderElection(false),
	)
	provisioner.Run(ctx)
}
