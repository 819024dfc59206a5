"""Self-supervised methods, one a file. A new one is a file and a row of `METHODS`."""

from .base import Method, Refresh
from .clustering.clusternet import clusternet
from .clustering.deepcluster import deepcluster
from .clustering.deepcluster_v2 import deepcluster_v2
from .clustering.deepercluster import deepercluster
from .clustering.jule import jule
from .clustering.pcl import pcl
from .clustering.scan import scan, scan_self_label
from .clustering.sela import sela
from .clustering.swav import swav
from .clustering.unicom import unicom
from .contrastive.all4one import all4one
from .contrastive.beclr import beclr
from .contrastive.cluster_ns import cluster_ns
from .contrastive.co2 import co2
from .contrastive.debiased import debiased
from .contrastive.decoupled import decoupled
from .contrastive.detcon import detcon
from .contrastive.directclr import directclr
from .contrastive.esimcse import esimcse
from .contrastive.hypersphere import hypersphere
from .contrastive.icon import icon
from .contrastive.macl import macl
from .contrastive.metric import metric
from .contrastive.mochi import mochi
from .contrastive.moco import moco_v1, moco_v2
from .contrastive.moco_hard import moco_hard
from .contrastive.moco_v3 import moco_v3
from .contrastive.nnclr import nnclr
from .contrastive.nnsiam import nnsiam
from .contrastive.ressl import ressl
from .contrastive.simclr import simclr
from .contrastive.supcon import supcon
from .contrastive.unisiam import unisiam
from .contrastive.whitened import whitened_contrastive
from .dictionary.abs_topk import abs_topk
from .dictionary.archetypal import archetypal
from .dictionary.batch_topk import batch_topk
from .dictionary.csr import csr
from .dictionary.gated import gated
from .dictionary.jump_relu import jump_relu
from .dictionary.matching_pursuit import matching_pursuit
from .dictionary.matryoshka import matryoshka
from .dictionary.p_anneal import p_anneal
from .dictionary.progressive import progressive
from .dictionary.relu_l1 import relu_l1
from .dictionary.topk import topk
from .distillation.byol import byol
from .distillation.dino import dino
from .distillation.nnbyol import nnbyol
from .distillation.simsiam import simsiam
from .equivariant.care import care
from .equivariant.filmr import filmr
from .equivariant.sie import sie
from .instance.diet import diet
from .instance.instdisc import instdisc
from .instance.invprop import invprop
from .instance.pirl import pirl
from .masked.bootmae import bootmae
from .masked.capi import capi
from .masked.cmae import cmae
from .masked.crossmae import crossmae
from .masked.data2vec import data2vec
from .masked.data2vec2 import data2vec2
from .masked.dinosr import dinosr
from .masked.dinov2 import dinov2
from .masked.gmml import gmml
from .masked.ibot import ibot
from .masked.ijepa import ijepa
from .masked.mae import mae
from .masked.maskfeat import maskfeat
from .masked.msn import msn
from .masked.simmim import simmim
from .over_axis import over_axis
from .pretext.amdim import amdim
from .pretext.colourisation import colourisation
from .pretext.cpc import cpc
from .pretext.exemplar import exemplar
from .pretext.jigclu import jigclu
from .pretext.jigsaw import jigsaw
from .pretext.relational import relational
from .pretext.relative_patch import relative_patch
from .pretext.rotation import rotation
from .redundancy.barlow_twins import barlow_twins
from .redundancy.emp_ssl import emp_ssl
from .redundancy.frossl import frossl
from .redundancy.intl import intl, intl_m
from .redundancy.lejepa import lejepa
from .redundancy.mmcr import mmcr
from .redundancy.tico import tico
from .redundancy.unsee import unsee
from .redundancy.vibcreg import vibcreg
from .redundancy.vicreg import vicreg
from .redundancy.vicregl import vicregl
from .redundancy.visreg import visreg
from .redundancy.w_mse import w_mse
from .regularised import REGULARISERS, regularised

# config.method.name -> constructor; config.method's other fields are its keywords.
METHODS = {
    'abs_topk': abs_topk,
    'all4one': all4one,
    'amdim': amdim,
    'archetypal': archetypal,
    'barlow_twins': barlow_twins,
    'batch_topk': batch_topk,
    'beclr': beclr,
    'bootmae': bootmae,
    'byol': byol,
    'capi': capi,
    'cmae': cmae,
    'care': care,
    'cluster_ns': cluster_ns,
    'clusternet': clusternet,
    'co2': co2,
    'colourisation': colourisation,
    'cpc': cpc,
    'crossmae': crossmae,
    'csr': csr,
    'data2vec': data2vec,
    'data2vec2': data2vec2,
    'debiased': debiased,
    'decoupled': decoupled,
    'deepcluster': deepcluster,
    'deepcluster_v2': deepcluster_v2,
    'deepercluster': deepercluster,
    'detcon': detcon,
    'diet': diet,
    'dino': dino,
    'dinosr': dinosr,
    'dinov2': dinov2,
    'directclr': directclr,
    'emp_ssl': emp_ssl,
    'esimcse': esimcse,
    'exemplar': exemplar,
    'filmr': filmr,
    'frossl': frossl,
    'gated': gated,
    'gmml': gmml,
    'hypersphere': hypersphere,
    'ibot': ibot,
    'icon': icon,
    'ijepa': ijepa,
    'instdisc': instdisc,
    'intl': intl,
    'intl_m': intl_m,
    'invprop': invprop,
    'jigclu': jigclu,
    'jigsaw': jigsaw,
    'jule': jule,
    'jump_relu': jump_relu,
    'lejepa': lejepa,
    'macl': macl,
    'mae': mae,
    'maskfeat': maskfeat,
    'matching_pursuit': matching_pursuit,
    'matryoshka': matryoshka,
    'metric': metric,
    'mmcr': mmcr,
    'mochi': mochi,
    'moco_hard': moco_hard,
    'moco_v1': moco_v1,
    'moco_v2': moco_v2,
    'moco_v3': moco_v3,
    'msn': msn,
    'nnbyol': nnbyol,
    'nnclr': nnclr,
    'nnsiam': nnsiam,
    'p_anneal': p_anneal,
    'pcl': pcl,
    'pirl': pirl,
    'progressive': progressive,
    'relational': relational,
    'relative_patch': relative_patch,
    'relu_l1': relu_l1,
    'ressl': ressl,
    'rotation': rotation,
    'scan': scan,
    'scan_self_label': scan_self_label,
    'sela': sela,
    'sie': sie,
    'simclr': simclr,
    'simmim': simmim,
    'simsiam': simsiam,
    'supcon': supcon,
    'swav': swav,
    'tico': tico,
    'topk': topk,
    'unicom': unicom,
    'unisiam': unisiam,
    'unsee': unsee,
    'vibcreg': vibcreg,
    'vicreg': vicreg,
    'vicregl': vicregl,
    'visreg': visreg,
    'w_mse': w_mse,
    'whitened_contrastive': whitened_contrastive,
}

__all__ = [
    'METHODS',
    'Method',
    'REGULARISERS',
    'Refresh',
    'over_axis',
    'regularised',
    'abs_topk',
    'all4one',
    'amdim',
    'archetypal',
    'barlow_twins',
    'batch_topk',
    'beclr',
    'bootmae',
    'byol',
    'capi',
    'cmae',
    'care',
    'cluster_ns',
    'clusternet',
    'co2',
    'colourisation',
    'cpc',
    'crossmae',
    'csr',
    'data2vec',
    'data2vec2',
    'debiased',
    'decoupled',
    'deepcluster',
    'deepcluster_v2',
    'deepercluster',
    'detcon',
    'diet',
    'dino',
    'dinosr',
    'dinov2',
    'directclr',
    'emp_ssl',
    'esimcse',
    'exemplar',
    'filmr',
    'frossl',
    'gated',
    'gmml',
    'hypersphere',
    'ibot',
    'icon',
    'ijepa',
    'instdisc',
    'intl',
    'intl_m',
    'invprop',
    'jigclu',
    'jigsaw',
    'jule',
    'jump_relu',
    'lejepa',
    'macl',
    'mae',
    'maskfeat',
    'matching_pursuit',
    'matryoshka',
    'metric',
    'mmcr',
    'mochi',
    'moco_hard',
    'moco_v1',
    'moco_v2',
    'moco_v3',
    'msn',
    'nnbyol',
    'nnclr',
    'nnsiam',
    'p_anneal',
    'pcl',
    'pirl',
    'progressive',
    'relational',
    'relative_patch',
    'relu_l1',
    'ressl',
    'rotation',
    'scan',
    'scan_self_label',
    'sela',
    'sie',
    'simclr',
    'simmim',
    'simsiam',
    'supcon',
    'swav',
    'tico',
    'topk',
    'unicom',
    'unisiam',
    'unsee',
    'vibcreg',
    'vicreg',
    'vicregl',
    'visreg',
    'w_mse',
    'whitened_contrastive',
]
